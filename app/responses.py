"""JSON that the database wrote, sent as it is."""

from fastapi import Response

from app.conditions import etag


class DatabaseJson(Response):
    """A response whose body is already JSON text, with an ETag where it has a version."""

    media_type = "application/json"

    def __init__(
        self, body: str, *, status_code: int = 200, version: int | None = None, headers: dict[str, str] | None = None
    ) -> None:
        headers = {"Cache-Control": "no-store", **(headers or {})}
        if version is not None:
            headers["ETag"] = etag(version)
        super().__init__(body, status_code, headers)
