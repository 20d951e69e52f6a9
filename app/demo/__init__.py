"""`holdfast demo`: one short story on a real server, with its numbers."""

import asyncio
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import httpx2
import uvicorn
from pydantic import SecretStr

from app.api_keys.queries import create_api_key
from app.demo.completion import complete
from app.demo.opening import win_the_opening
from app.demo.race import RIVALS, race
from app.demo.stage import OPERATOR, console
from app.encryption import new_encryption_key
from app.main import create_app
from app.settings import Settings


async def run(settings: Settings, listener: socket.socket, *, keep_serving: bool) -> None:
    """Serve on `listener`, tell the story against it over HTTP, and go on serving if asked to."""
    cron_secret = settings.cron_secret or SecretStr(secrets.token_urlsafe(24))
    keys = settings.encryption_keys or SecretStr(_kept_key(settings.data_dir))
    app = create_app(settings.model_copy(update={"cron_secret": cron_secret, "encryption_keys": keys, "worker": True}))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        if serving.done():
            return serving.result()
        await asyncio.sleep(0.01)

    url = f"http://{listener.getsockname()[0]}:{listener.getsockname()[1]}"
    try:
        key = (await create_api_key(app.state.database, OPERATOR, "demo", ["admin"])).key
        async with httpx2.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            limits=httpx2.Limits(max_connections=RIVALS),
            timeout=30,
        ) as client:
            slot_id = await race(client)
            await complete(client, app.state.database, cron_secret)
            await win_the_opening(client)
        if keep_serving:
            _invite(url, key, slot_id, cron_secret)
            await serving
    finally:
        server.should_exit = True
        await serving
    return None


def _kept_key(data_dir: Path | None) -> str:
    """A key that stays beside the data, so that a demo told again, or beside another, reads what that one stored."""
    if data_dir is None:
        return new_encryption_key()
    kept = data_dir / "demo.key"
    with NamedTemporaryFile("w", dir=data_dir) as file, suppress(FileExistsError):
        file.write(new_encryption_key())
        file.flush()
        # whole, and only if nobody was first
        kept.hardlink_to(file.name)
    return kept.read_text()


def _invite(url: str, key: str, slot_id: str, cron_secret: SecretStr) -> None:
    lines = {
        "serving": url,
        "docs": f"{url}/docs",
        "admin key": key,
        "cron secret": cron_secret.get_secret_value(),
    }
    console.print("\n[bold]Now you[/]")
    for name, value in lines.items():
        console.print(f"   {name:<12}{value}", soft_wrap=True)
    body = f'{{"slot_id": "{slot_id}", "customer": {{"ref": "you"}}}}'
    console.print(
        f"\ncurl -i {url}/v1/bookings -H 'Authorization: Bearer {key}' \\\n"
        f"  -H 'Content-Type: application/json' -d '{body}'\n",
        soft_wrap=True,
        markup=False,
    )
    console.print("Ctrl-C stops it; the data stays.", style="dim")
