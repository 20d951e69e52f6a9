"""The simulator described for the adapter `http_json`."""

from typing import Any

SETTINGS: dict[str, Any] = {
    "clock": {"method": "GET", "path": "/status", "header": "X-Server-Time-Ms", "unit": "milliseconds"},
    "login": {
        "path": "/login",
        "body": {"user": "{credentials.user}", "password": "{credentials.password}"},
        "token": "token",
        "message": "message",
        "rules": [
            {"finding": "valid", "status": 200, "path": "token"},
            {"finding": "bad_credentials", "status": 401, "path": "error", "equals": "bad_credentials"},
        ],
    },
    "session": {"headers": {"Authorization": "Bearer {token}"}},
    "booking": {
        "path": "/bookings",
        "body": {"class": "{target.class}", "date": "{target.date}", "time": "{target.time}"},
        "idempotency_header": "Idempotency-Key",
        "confirmation": "id",
        "message": "message",
        "rules": [
            {"finding": "booked", "path": "status", "equals": "confirmed"},
            {"finding": "full", "status": 409, "path": "error", "equals": "full"},
            {"finding": "not_open_yet", "status": 409, "path": "error", "equals": "not_open_yet"},
            {"finding": "bad_credentials", "status": 401, "path": "error", "equals": "bad_credentials"},
            {"finding": "unavailable", "status": 503, "path": "error", "equals": "try_again"},
            {"finding": "refused", "status": 422, "path": "error", "equals": "invalid"},
        ],
    },
    "lookup": {
        "path": "/bookings?key={idempotency_key}",
        "confirmation": "id",
        "message": "message",
        "rules": [
            {"finding": "booked", "path": "status", "equals": "confirmed"},
            {"finding": "absent", "status": 404, "path": "error", "equals": "no_such_booking"},
        ],
    },
}


def settings_for(base_url: str) -> dict[str, Any]:
    """The settings of a provider whose simulator answers there."""
    return {"base_url": base_url, **SETTINGS}
