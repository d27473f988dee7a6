"""ASGI middleware: an ASGI application in, an ASGI application out."""
