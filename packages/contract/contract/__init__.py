"""The words of the wire, shared by both services: pydantic models and nothing else."""
