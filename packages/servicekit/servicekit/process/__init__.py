"""State and output of one process."""
