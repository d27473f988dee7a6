"""Projects and their API keys: the writing side."""
