"""Sends one request to the service in this container, because the images have no curl.

`python -m servicekit.service.probe /livez`
"""

import http.client
import os
import sys

SECONDS_MAX = 4.0


def main(path: str) -> int:
    """Return 0 when the service on PORT answers `path` with 200; else say what came instead, and return 1."""
    # Not urllib: it would follow HTTP_PROXY, which Docker hands to every container of some machines.
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["PORT"]), timeout=SECONDS_MAX)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        print(f"{path}: {error}")
        return 1
    finally:
        connection.close()
    if answer.status != http.client.OK:
        print(f"{path}: {answer.status} {said}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
