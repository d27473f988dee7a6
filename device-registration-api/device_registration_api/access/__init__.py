"""Projects, their members and their API keys: the writing side. Callers own the transaction."""
