"""Reports the requests of an ASGI or WSGI application. It imports the standard library and nothing else."""

from device_statistics_track.asgi import TrackMiddleware
from device_statistics_track.wsgi import TrackWSGIMiddleware

__all__ = ["TrackMiddleware", "TrackWSGIMiddleware"]
