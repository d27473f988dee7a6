"""Imports what other systems recorded: reads their databases, and stores as the services do."""
