"""Who asks: API keys, read and checked."""
