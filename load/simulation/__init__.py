"""A discrete-event model of both services and PostgreSQL: `make simulate` (docs/scale.md)."""
