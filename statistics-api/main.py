"""Starts the public service: `python main.py`, configured by the environment."""

from statistics_api.serving import run

if __name__ == "__main__":
    run()
