"""What both services are built on: HTTP, a database, a process. No module here knows a concept of the domain."""
