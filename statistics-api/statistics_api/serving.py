"""Starts the public service, configured by the environment."""

from servicekit.process.logs import chosen_format, configure_logs
from servicekit.service.server import serve
from servicekit.service.settings import read_settings
from statistics_api.settings import Settings


def run(factory: str = "statistics_api.app:create_app") -> None:
    """Serve the application that `factory` ("module:function") makes, until SIGTERM."""
    settings = read_settings(Settings)
    configure_logs("statistics-api", chosen_format(settings.log_format))
    serve(
        factory,
        host=settings.host,
        port=settings.port,
        metrics_port=settings.metrics_port,
        in_flight_max=settings.in_flight_max,
        workers=settings.workers,
        # Longer than a load balancer's 60 s, so that it never reuses a connection that this service closes.
        keep_alive_seconds=75,
    )
