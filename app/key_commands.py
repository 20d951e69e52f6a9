"""`holdfast keys`: API keys, and the keys that encrypt and sign."""

import json
import re
from datetime import datetime, timedelta
from typing import Annotated

import typer
from asyncpg import Record
from rich.console import Console
from rich.table import Column, Table

from app.api_keys.queries import NewKey, create_api_key, list_api_keys, revoke_api_key, rotate_api_key
from app.credentials.rotation import Rotation, rotate
from app.database import Database
from app.encryption import new_encryption_key
from app.installation import OPERATOR, notes, with_database
from app.security import Scope
from app.settings import Settings
from app.signatures import new_signing_key
from app.webhooks.rotation import rotate_secrets

DURATION_HELP = "such as 90d, 24h or 30m"
UNITS = {"d": "days", "h": "hours", "m": "minutes"}
# what `keys list` calls the moments of a key's life
MOMENTS = (
    ("created", "created_at"),
    ("last used", "last_used_at"),
    ("expires", "expires_at"),
    ("revoked", "revoked_at"),
)

keys = typer.Typer(no_args_is_help=True, help="API keys, and the keys that encrypt and sign.")


def duration(text: str, option: str) -> timedelta:
    """The time that an option names. Exits with a sentence when it names none."""
    match = re.fullmatch(r"(\d{1,5})([dhm])", text)
    if match is None:
        raise typer.BadParameter(f"{text} is no time {DURATION_HELP}", param_hint=option)  # noqa: TRY003, EM102
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def is_meant(key: Record, prefix: str) -> bool:
    """Whether that begins a key which was not revoked; the database knows whether it has expired."""
    return bool(key["prefix"] == prefix.rstrip("…") and key["revoked_at"] is None)


@keys.command("create")
def keys_create(
    scope: Annotated[Scope, typer.Option(help="What it may do.")],
    name: Annotated[str, typer.Option(help="Whom it is for.")] = "",
    expires_in: Annotated[str, typer.Option(help=f"When it ends, {DURATION_HELP}; left out: not by itself.")] = "",
) -> None:
    """Make a key and print it, alone, on standard output. It is shown this once."""
    lifetime = duration(expires_in, "--expires-in") if expires_in else None
    new = with_database(lambda database: create_api_key(database, OPERATOR, name or scope, [scope], lifetime))
    typer.echo(new.key)


@keys.command("list")
def keys_list() -> None:
    """Show every key's beginning, never a key."""
    # the beginning is what other commands take: it is whole however narrow the screen
    table = Table(Column("key", no_wrap=True), "name", "scopes", *(moment for moment, _ in MOMENTS))
    for row in with_database(list_api_keys):
        key = json.loads(row["body"])
        times = (key[field] for _, field in MOMENTS)
        shown = (f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M}" if time else "" for time in times)
        table.add_row(f"{key['prefix']}…", key["name"], ", ".join(key["scopes"]), *shown)
    Console().print(table)


@keys.command("rotate-api-key")
def keys_rotate_api_key(
    prefix: Annotated[str, typer.Argument(help="The key's beginning, as `keys list` shows it.")],
    overlap: Annotated[str, typer.Option(help=f"How long the old key works on, {DURATION_HELP}.")] = "24h",
) -> None:
    """Make a key like that one and print it, alone, on standard output. The old one ends after the overlap."""
    lasting = duration(overlap, "--overlap")

    async def work(database: Database) -> NewKey | None:
        live = [key["key_id"] for key in await list_api_keys(database) if is_meant(key, prefix)]
        return await rotate_api_key(database, OPERATOR, live[0], lasting) if len(live) == 1 else None

    new = with_database(work)
    if new is None:
        notes.print(f"no live key, or more than one, begins with {prefix}")
        raise typer.Exit(1)
    typer.echo(new.key)


@keys.command("revoke")
def keys_revoke(prefix: Annotated[str, typer.Argument(help="The key's beginning, as `keys list` shows it.")]) -> None:
    """End a key. It opens nothing a second later."""
    revoked = with_database(lambda database: revoke_api_key(database, OPERATOR, prefix.rstrip("…")))
    if not revoked:
        notes.print(f"no live key begins with {prefix}")
        raise typer.Exit(1)


@keys.command("new-signing")
def keys_new_signing() -> None:
    """Print a fresh key for AUDIT_SIGNING_KEY, alone, on standard output. Nothing keeps it."""
    typer.echo(new_signing_key())


@keys.command("new-encryption")
def keys_new_encryption() -> None:
    """Print a fresh key for ENCRYPTION_KEYS, alone, on standard output. Nothing keeps it."""
    typer.echo(new_encryption_key())


@keys.command("rotate")
def keys_rotate() -> None:
    """Put all credentials and webhooks' secrets under the first of ENCRYPTION_KEYS, while they are used.

    Safe to kill, and to repeat.
    """
    encryption_keys = Settings().keys_of_credentials
    if encryption_keys is None:
        notes.print("ENCRYPTION_KEYS is not set")
        raise typer.Exit(1)

    async def work(database: Database) -> tuple[Rotation, int]:
        rotation = await rotate(database, OPERATOR, encryption_keys)
        return rotation, await rotate_secrets(database, OPERATOR, encryption_keys)

    (rotated, left), secrets_left = with_database(work)
    typer.echo(f"{rotated} credentials are under the key {encryption_keys.ids[0]} now, {left} are under another still")
    if secrets_left:
        typer.echo(f"{secrets_left} webhook secrets are under another still")
    if left or secrets_left:
        notes.print("whoever stored them has old settings, or their key is not in ENCRYPTION_KEYS: see holdfast doctor")
        raise typer.Exit(1)
