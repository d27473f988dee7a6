"""The public service with more patience for the store of its rate limit: the machine of the tests may be busy."""

from statistics_api import limiters
from statistics_api.serving import run

STORE_SECONDS_MAX = 2.0

if __name__ == "__main__":
    limiters.STORE_SECONDS_MAX = STORE_SECONDS_MAX
    run()
