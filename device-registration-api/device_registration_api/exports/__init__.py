"""All events of a kind and a project, in the order of their transactions: read in pages, on from any checkpoint."""
