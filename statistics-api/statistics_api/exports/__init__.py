"""All events of a kind and a project, streamed to a client page by page."""
