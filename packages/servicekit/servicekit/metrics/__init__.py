"""Numbers about a process, in memory that another process can read. Nothing here knows who counts, or what."""
