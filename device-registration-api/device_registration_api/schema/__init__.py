"""The schema through time: databases, roles and revisions. Run by an administrator, never by a service."""
