"""JSON that the database wrote, sent as it is."""

from fastapi import Response

from app.conditions import etag


class DatabaseJson(Response):
    """A response whose body is already JSON text.

    With a version, its ETag is what `If-Match` takes. With a tag of its own, a client may keep it and ask whether it
    still holds; without one it is not to be kept.
    """

    media_type = "application/json"

    def __init__(
        self,
        body: str,
        *,
        status_code: int = 200,
        version: int | None = None,
        tag: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        headers = {"Cache-Control": "no-cache" if tag else "no-store", **(headers or {})}
        if version is not None or tag is not None:
            headers["ETag"] = etag(tag or version)
        super().__init__(body, status_code, headers)


class NotModified(Response):
    """304: what the client has kept under this tag still holds."""

    def __init__(self, tag: str) -> None:
        super().__init__(None, 304, {"Cache-Control": "no-cache", "ETag": etag(tag)})
