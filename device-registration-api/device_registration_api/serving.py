"""Starts the private service, configured by the environment."""

from device_registration_api.settings import Settings
from servicekit.process.logs import chosen_format, configure_logs
from servicekit.service.server import serve
from servicekit.service.settings import read_settings


def run(factory: str = "device_registration_api.app:create_app") -> None:
    """Serve the application that `factory` ("module:function") makes, until SIGTERM."""
    settings = read_settings(Settings)
    configure_logs("device-registration-api", chosen_format(settings.log_format))
    serve(
        factory,
        host=settings.host,
        port=settings.port,
        metrics_port=settings.metrics_port,
        in_flight_max=settings.in_flight_max,
        # Longer than the public service keeps an idle connection, so that it never reuses a connection that closes.
        keep_alive_seconds=30,
    )
