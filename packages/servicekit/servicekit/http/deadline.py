"""The deadline of a request between two services, in a header.

It is a wall-clock time, because the request may wait in a socket before it is read. The clocks of the two machines must
agree to within a fraction of a second, as NTP keeps them. A wrong clock makes the receiver refuse work too early or
begin it too late, and never makes an answer wrong.
"""

import time

from servicekit.errors import Invalid
from servicekit.process import clock

HEADER = "X-Request-Deadline"


def to_header(deadline: float) -> str:
    """Seconds since the epoch for a reading of `time.monotonic`."""
    return f"{clock.now().timestamp() + deadline - time.monotonic():.3f}"


def from_header(value: str | None, *, seconds_max: float) -> float:
    """The deadline as a reading of `time.monotonic`, at most `seconds_max` from now.

    Raises:
        Invalid: not a number of seconds.
    """
    now = time.monotonic()
    if value is None:
        return now + seconds_max
    try:
        left = float(value) - clock.now().timestamp()
    except ValueError as error:
        raise Invalid.single("must be seconds since the epoch", "header", HEADER) from error
    # In this order, because min() returns its first argument when the second is NaN.
    return now + min(seconds_max, left)
