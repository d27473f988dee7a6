"""Starts the private service: `python main.py`, configured by the environment."""

from device_registration_api.serving import run

if __name__ == "__main__":
    run()
