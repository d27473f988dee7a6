"""Projects, their members and their API keys, as accounts manage them: reads here, changes in the private service."""
