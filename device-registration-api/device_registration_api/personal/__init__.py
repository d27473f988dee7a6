"""Personal data, sealed under one key a person, and found through blind indexes. Nothing else reads these databases."""
