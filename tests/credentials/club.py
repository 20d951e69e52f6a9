"""A club with a booking site of its own, and the adapter that its makers would ship: real sockets on both sides."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx2

from app.adapters.adapter import Answer, Clock, Credentials, Finding, Fire, Order

FINDINGS: dict[int, Finding] = {200: "valid", 403: "bad_credentials", 404: "refused", 429: "rate_limited"}


class Club(ThreadingHTTPServer):
    """Lets in whoever knows the password. `status` is what it answers instead, `words` what it says beside it."""

    daemon_threads = True

    def __init__(self, password: str) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.password = password
        self.status: int | None = None
        self.words = ""
        self.callers = 0
        self.before_answering: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_port}/login"


class _Door(BaseHTTPRequestHandler):
    server: Club

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.callers += 1
        self.server.before_answering()
        right = given["password"] == self.server.password
        self.send_response(self.server.status or (HTTPStatus.OK if right else HTTPStatus.FORBIDDEN))
        words = self.server.words.replace("PASSWORD", given["password"]).encode()
        self.send_header("Content-Length", str(len(words)))
        self.send_header("Retry-After", "120")
        self.end_headers()
        self.wfile.write(words)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def club(password: str) -> Iterator[Club]:
    """A club for as long as the block runs."""
    with Club(password) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class ClubAdapter:
    """Knocks at a club's door. Setting: `url`."""

    honours_idempotency_key = False
    open = 0

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx2.AsyncClient()
        type(self).open += 1

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        if not isinstance(settings.get("url"), str):
            msg = "settings need a url"
            raise ValueError(msg)  # noqa: TRY004 - as the contract says
        return cls(settings["url"])

    async def clock(self) -> Clock | None:
        return None

    async def check_credentials(self, credentials: Credentials) -> Answer:
        answer = await self._client.post(self._url, json=dict(credentials.fields))
        finding = FINDINGS.get(answer.status_code, "unavailable")
        after = float(answer.headers["Retry-After"]) if finding == "rate_limited" else None
        return Answer(finding, retry_after=after, detail=answer.text)

    async def book(self, order: Order, credentials: Credentials, fire: Fire) -> Answer:
        raise NotImplementedError

    async def lookup(self, order: Order, credentials: Credentials) -> Answer:
        raise NotImplementedError

    async def close(self) -> None:
        await self._client.aclose()
        type(self).open -= 1


def offer_adapters(folder: Path) -> Path:
    """An installed package, for all Python can tell, that offers the adapter `club`; answers what goes on sys.path."""
    package = folder / "club_adapter-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: club-adapter\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[holdfast.adapters]\nclub = tests.credentials.club:ClubAdapter\n")
    return folder
