"""`holdfast doctor`: what is configured, and what is wrong with it."""

import json

import asyncpg
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from app.audit.queries import newest_audit_checkpoint
from app.credentials.queries import credentials_by_key
from app.database import Database, open_database
from app.deadlines import Deadlines
from app.jobs.queries import jobs_heartbeat
from app.messages.queries import list_channels
from app.migrate import head_revision
from app.settings import Settings
from app.webhooks.queries import webhook_secrets_by_key

console = Console(highlight=False)


async def examine(settings: Settings, *, embedded_server: bool) -> bool:
    """Print every setting and every finding; True when nothing is wrong."""
    console.print(_settings_table(settings, embedded_server=embedded_server))
    try:
        async with open_database(settings) as database:
            problems = await _database_problems(database, settings)
    except (OSError, asyncpg.PostgresError) as error:
        problems = [f"the database cannot be reached: {type(error).__name__}"]
    if settings.cron_secret is None:
        problems.append("CRON_SECRET is not set: only API keys of scope cron can call /cron/process-jobs")
    problems += _token_problems(settings) + _link_problems(settings)

    for problem in problems:
        console.print(f"[red]✗[/] {problem}")
    if not problems:
        console.print("[green]✓[/] nothing is wrong")
    return not problems


def _settings_table(settings: Settings, *, embedded_server: bool) -> Table:
    table = Table("setting", "value", box=None, padding=(0, 2), header_style="dim")
    for name in Settings.model_fields:
        table.add_row(name.upper(), _shown(getattr(settings, name)))
    if embedded_server:
        table.add_row("", "(no DATABASE_URL: the embedded Postgres)")
    table.add_row("", f"(the client is {_who_the_client_is(settings)})")
    table.add_row("", f"(customer tokens are {'on' if settings.takes_customer_tokens else 'off'})")
    return table


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "set"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def _who_the_client_is(settings: Settings) -> str:
    if settings.trusted_proxies:
        return "whom X-Forwarded-For names, as far as TRUSTED_PROXIES wrote it"
    return "whoever connects: X-Forwarded-For is not believed"


def _token_problems(settings: Settings) -> list[str]:
    is_bound = settings.jwt_audience is not None or settings.jwt_issuer is not None
    if is_bound and not settings.takes_customer_tokens:
        return ["JWT_AUDIENCE or JWT_ISSUER is set without JWT_SECRET or JWKS_URL: no customer token is taken"]
    if settings.jwks_url and not is_bound:
        return ["JWKS_URL is set without JWT_AUDIENCE and JWT_ISSUER: tokens made for others open Holdfast too"]
    return []


def _link_problems(settings: Settings) -> list[str]:
    if settings.link_secret and not settings.public_url:
        return ["LINK_SECRET is set without PUBLIC_URL: messages of auto-syncs carry no link"]
    return []


async def _database_problems(database: Database, settings: Settings) -> list[str]:
    revision = await database.revision()
    if revision is None:
        return ["the database is not migrated: run `holdfast migrate`"]
    if revision != head_revision():
        # what this version would ask next may not be there
        return [f"the database is at migration {revision}, this version wants {head_revision()}"]
    problems = await _role_problems(database)
    problems += await _encryption_problems(database, settings) + await _channel_problems(database, settings)
    problems += await _deadline_problems(database, settings)
    await _say_how_checkpoints_stand(database, settings)
    heartbeat = await jobs_heartbeat(database)
    if heartbeat["oldest_due_age_ms"] > settings.jobs_overdue_seconds * 1000:
        minutes = heartbeat["oldest_due_age_ms"] // 60_000
        problems.append(
            f"{heartbeat['due']} jobs are due, the oldest for {minutes} min: does anything call /cron/process-jobs?"
        )
    return problems


async def _role_problems(database: Database) -> list[str]:
    standing = await database.standing()
    roles = "which has roles" if standing["has_roles"] else "which has no roles of its own"
    console.print(f"  connected as {standing['role']} to the schema {database.schema}, {roles}")
    if standing["has_roles"] and standing["owns"]:
        return [f"{standing['role']} may do everything in the schema: serve as {database.schema}_app"]
    return []


async def _deadline_problems(database: Database, settings: Settings) -> list[str]:
    timeouts = await database.timeouts()
    endless = [name for name, seconds in timeouts.items() if not seconds]
    if endless:
        # behind a pooler they are the role's, and our own patience is all there is
        return [f"{name} is off for this role: docs/operations.md says how to set it" for name in sorted(endless)]
    in_force = Deadlines(timeouts["lock_timeout"], timeouts["statement_timeout"], settings.deadlines.request)
    return [f"for this role, {in_force.fault}"] if in_force.fault else []


async def _say_how_checkpoints_stand(database: Database, settings: Settings) -> None:
    newest = await newest_audit_checkpoint(database)
    if newest["created_at"] is None:
        console.print(
            "  the audit trail has no checkpoint: `holdfast audit checkpoint` makes one, every day from a cron"
        )
    else:
        made = f"{newest['created_at']:%Y-%m-%d %H:%M}"
        console.print(
            f"  the newest checkpoint of the audit trail is of {made}, {'' if newest['is_signed'] else 'not '}signed"
        )
    kept = f"{settings.audit_keep_months} months" if settings.audit_keep_months else "for ever"
    console.print(f"  the audit trail is kept {kept}, addresses in it {_days(settings.audit_keep_address_days)}")
    if settings.audit_signing_key is None:
        console.print("  checkpoints are not signed: AUDIT_SIGNING_KEY is not set")


def _days(number: int) -> str:
    return f"{number} days" if number else "until their customer is erased"


async def _channel_problems(database: Database, settings: Settings) -> list[str]:
    channels = json.loads(await list_channels(database))["items"]
    enabled = {channel["name"] for channel in channels if channel["is_enabled"]}
    given = {
        "email": (settings.smtp_url, settings.mail_from),
        "sms": (settings.sms_url, settings.sms_account, settings.sms_token, settings.sms_from),
    }
    problems = []
    for name, parts in given.items():
        if name in enabled and None in parts:
            problems.append(f"messages go out by {name}, and its settings are not complete: they wait")
        elif name not in enabled and None not in parts:
            console.print(f"  {name} is set up and not enabled: PUT /v1/message-channels/{name}")
    return problems


async def _encryption_problems(database: Database, settings: Settings) -> list[str]:
    keys = settings.keys_of_credentials
    known = keys.ids if keys else []
    found = {
        "credentials": await credentials_by_key(database),
        "webhook secrets": await webhook_secrets_by_key(database),
    }
    for key_id in known:
        for what, by_key in found.items():
            console.print(f"  {by_key.get(key_id, 0)} {what} are under the key {key_id}")
    return [
        f"{count} {what} are under the key {key_id}, which ENCRYPTION_KEYS does not have: nobody can use them"
        for what, by_key in found.items()
        for key_id, count in by_key.items()
        if key_id not in known
    ]
