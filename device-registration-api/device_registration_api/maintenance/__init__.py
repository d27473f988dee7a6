"""What keeps the tables small and the counts true: weeks, retention, windows, and the check of it all."""
