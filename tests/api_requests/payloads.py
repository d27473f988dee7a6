"""Requests as a client sends them."""


def request(ms: float = 12.5, status: int = 200, path: str = "/orders/{id}", **more: object) -> dict[str, object]:
    return {"url_path": path, "method": "GET", "response_status_code": status, "response_time_ms": ms, **more}
