"""Words of the wire that many tests send or expect, as the documents write them."""

REGISTERED = {"statusCode": 200, "message": "Device registered successfully"}
WINDOWS = "Invalid deviceType 'Windows'. Allowed values: ['Android', 'TV', 'Watch', 'iOS']"
DEVICE_TYPES = ["Android", "TV", "Watch", "iOS"]
NDJSON = {"Content-Type": "application/x-ndjson"}


def event(user_key: str, device_type: str = "iOS", **more: object) -> dict[str, object]:
    """A body of POST /Log/auth, or an item of a batch."""
    return {"userKey": user_key, "deviceType": device_type, **more}
