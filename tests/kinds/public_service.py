"""Starts it: `python -m tests.kinds.public_service`, configured by the environment.

Every worker imports this file before it tells its parent that it lives, so the application has a file of its own.
"""

from statistics_api.serving import run

if __name__ == "__main__":
    run("tests.kinds.public_app:create_app")
