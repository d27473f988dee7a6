"""What only the private service can show: outcomes of events, and states that the database holds."""
