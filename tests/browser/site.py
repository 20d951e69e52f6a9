"""A booking site with only web forms, and every fault that such sites have, on a loopback port."""

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

USER = "mia"
STYLE = "<style>body{font:16px sans-serif;margin:3em}label{display:block;margin:1em 0}</style>"


@dataclass
class Site:
    """What the site knows, and what tests change and count."""

    password: str
    capacity: int = 5
    is_open: bool = True
    hides_form: bool = False
    # what becomes of a form that was sent: counted, then handled so
    after_submit: str = "answer"
    form_extra: str = ""
    outside: str = ""
    url: str = ""
    sessions: dict[str, str] = field(default_factory=dict)
    submissions: list[dict[str, str]] = field(default_factory=list)
    bookings: list[tuple[str, str]] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    form_shown: asyncio.Event = field(default_factory=asyncio.Event)
    submitted: asyncio.Event = field(default_factory=asyncio.Event)

    async def sign_in(self, request: Request) -> Response:
        if request.method == "GET":
            return _page(
                "<h1>Sign in</h1><form method=post><label>User <input name=user></label>"
                "<label>Password <input name=password type=password></label><button>Sign in</button></form>"
            )
        if await _form(request) != {"user": USER, "password": self.password}:
            return _page("<h1>Sign in</h1><p class=error>User name or password is wrong.</p>")
        answer = RedirectResponse("/home", status_code=303)
        session = secrets.token_hex(8)
        self.sessions[session] = secrets.token_hex(8)
        answer.set_cookie("session", session, httponly=True, samesite="lax")
        return answer

    async def home(self, request: Request) -> Response:
        return _page("<h1>Welcome back</h1>") if self._csrf(request) else RedirectResponse("/login")

    async def form(self, request: Request) -> Response:
        csrf = self._csrf(request)
        if csrf is None:
            return RedirectResponse("/login")
        self.form_shown.set()
        name = request.path_params["name"]
        if self.hides_form and not self.is_open:
            return _page(f"<h1>{name}</h1><p>Booking is not open yet.</p>")
        return _page(
            f"<h1>{name}</h1><p>Book early: popular classes are full within minutes.</p>{self.form_extra}"
            f"<form method=post action=/book id=book><input type=hidden name=csrf value={csrf}>"
            f"<input type=hidden name=class value='{name}'><input type=hidden name=key>"
            "<label>Day <select name=day><option>Monday</option><option>Tuesday</option></select></label>"
            "<label>Name <input name=name></label><button>Book</button></form>"
        )

    async def submit(self, request: Request) -> Response:
        sent = await _form(request)
        self.submissions.append(sent)
        self.submitted.set()
        if sent.get("csrf") != self._csrf(request):
            return _page("<h1>Forbidden</h1><p>The form has expired.</p>", 403)
        if self.after_submit == "hang":
            await asyncio.sleep(3600)
        if self.after_submit == "leave":
            return RedirectResponse(f"{self.outside}/thanks", status_code=307)
        if not self.is_open:
            return _page("<h1>Sorry</h1><p>Booking is not open yet.</p>")
        if len(self.bookings) >= self.capacity:
            return _page("<h1>Sorry</h1><p>This class is full.</p>")
        self.bookings.append((sent["class"], f"R{len(self.bookings) + 1:04}"))
        return RedirectResponse(f"/done/{self.bookings[-1][1]}", status_code=303)

    async def done(self, request: Request) -> Response:
        return _page(f"<h1>You are booked</h1><p>Number <b id=number> {request.path_params['number']} </b></p>")

    async def mine(self, request: Request) -> Response:
        if self._csrf(request) is None:
            return RedirectResponse("/login")
        rows = "".join(f"<tr><td>{name}</td>\n<td class=number>{number}</td></tr>" for name, number in self.bookings)
        return _page(f"<h1>My bookings</h1><table>{rows}</table><p class=end>{len(self.bookings)} in all</p>")

    async def __call__(self, scope: dict[str, object], receive: object, send: object) -> None:
        if scope["type"] == "http":
            self.requests[f"{scope['method']} {scope['path']}"] += 1
        await self._app(scope, receive, send)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        routes: list[tuple[str, Callable[[Request], Awaitable[Response]], list[str]]] = [
            ("/login", self.sign_in, ["GET", "POST"]),
            ("/home", self.home, ["GET"]),
            ("/classes/{name}", self.form, ["GET"]),
            ("/book", self.submit, ["POST"]),
            ("/done/{number}", self.done, ["GET"]),
            ("/mine", self.mine, ["GET"]),
        ]
        self._app = Starlette(routes=[Route(path, answer, methods=methods) for path, answer, methods in routes])

    def _csrf(self, request: Request) -> str | None:
        return self.sessions.get(request.cookies.get("session", ""))


@asynccontextmanager
async def serve(app: object) -> AsyncIterator[str]:
    """The address of the application, served in this loop until the block ends, whatever hangs there."""
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=0)  # type: ignore[arg-type]
    server = _Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # they are the test run's
        yield


@asynccontextmanager
async def cutting() -> AsyncIterator[tuple[str, list[str]]]:
    """A site whose form, once sent, is read and met with a closed connection; its address, and what it was asked."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        form = b"<form method=post action=%s><input name=user><button>Go</button></form>"
        pages = {"GET /login": form % b"/home", "POST /home": b"<h1>Welcome back</h1>", "GET /": form % b"/book"}
        while (wanted := await _read(reader)) in pages:
            asked.append(wanted)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(pages[wanted])
            writer.write(head + pages[wanted])
        asked.append(wanted)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


async def _read(reader: asyncio.StreamReader) -> str:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return ""
    if length := re.search(r"content-length: (\d+)", head, re.IGNORECASE):
        await reader.readexactly(int(length[1]))
    return head.split(" HTTP/")[0]


def _page(body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(f"<!doctype html><title>Studio</title>{STYLE}{body}", status)


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode()))
