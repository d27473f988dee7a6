"""Subclasses of uvicorn's protocol class: they see bytes, never a route."""
