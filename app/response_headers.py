"""What every answer tells browsers and proxies: how little may be done with it, and how its caller's limit stands."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.rate_limits import Standing

Headers = list[tuple[bytes, bytes]]

HSTS = (b"strict-transport-security", b"max-age=31536000")
ALWAYS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
# data is neither a page nor part of one
DATA_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
# /docs, whose page starts its script in the page itself and draws icons from data: addresses
PAGE_POLICY = (
    b"content-security-policy",
    (
        b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
)


def _always(*, behind_tls: bool) -> Headers:
    return [*ALWAYS, HSTS] if behind_tls else ALWAYS


def data_headers(*, behind_tls: bool) -> Headers:
    """What every answer has that is no page."""
    return [*_always(behind_tls=behind_tls), DATA_POLICY]


def _policy_for(headers: Headers) -> Headers:
    """None for a page that brought its own."""
    if any(name == b"content-security-policy" for name, _ in headers):
        return []
    is_page = (b"content-type", b"text/html; charset=utf-8") in headers
    return [PAGE_POLICY if is_page else DATA_POLICY]


class ResponseHeaders:
    """ASGI middleware: adds them, HSTS only where the service is reached over TLS."""

    def __init__(self, app: ASGIApp, *, behind_tls: bool) -> None:
        self.app = app
        self._always = _always(behind_tls=behind_tls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                headers += [*self._always, *_policy_for(headers)]
                standing: Standing | None = state.get("rate_limit")
                if standing:
                    headers += standing.headers
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, send_with_headers)
