"""The `holdfast` command."""

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer
from pydantic import ValidationError
from rich.console import Console

from app import embedded
from app.audit.commands import audit
from app.bookings.importing import import_bookings, read_rows
from app.database import Database, open_database
from app.errors import Problem
from app.garbage import spare_what_stays
from app.installation import OPERATOR, installation, notes, run_migrations, with_database
from app.jobs.board import tables_of
from app.jobs.housekeeping import retention_of
from app.jobs.processor import process_jobs as run_jobs
from app.jobs.queries import job_stats
from app.jobs.worker import Worker
from app.key_commands import keys
from app.schemas import is_timezone
from app.security import Actor
from app.settings import Settings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="A headless booking backend."
)
imports = typer.Typer(no_args_is_help=True, help="Carry over what you have.")
app.add_typer(audit, name="audit")
app.add_typer(keys, name="keys")
app.add_typer(imports, name="import")


def listen(settings: Settings) -> socket.socket:
    """The listening socket. Exits with a sentence when the port is taken."""
    try:
        return socket.create_server((settings.host, settings.port), backlog=2048)
    except OSError as error:
        notes.print(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}. Set PORT to another one.")
        raise typer.Exit(1) from None


@app.command()
def demo(*, once: Annotated[bool, typer.Option("--once", help="End after the story.")] = False) -> None:
    """Race, complete, audit and win an opening on an embedded Postgres, then keep serving."""
    from app import demo as demonstration

    os.environ.setdefault("LOG_LEVEL", "warning")
    with installation() as settings, listen(settings) as listener:
        asyncio.run(demonstration.run(settings, listener, keep_serving=not once))


@app.command()
def simulator(port: Annotated[int, typer.Option(help="Port to listen on; 0 is any that is free.")] = 0) -> None:
    """Play a provider to try prebookings at: docs/providers.md describes it."""
    from app.simulator.serving import play
    from app.simulator.world import Conduct

    play(Conduct(), port)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; PORT.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes to serve with.")] = 1,
    *,
    migrate: Annotated[bool, typer.Option("--migrate", help="Migrate the database first.")] = False,
    worker: Annotated[bool, typer.Option("--worker", help="Do what is due, at the moment it is; WORKER.")] = False,
) -> None:
    """Serve the API. Without DATABASE_URL, on an embedded Postgres of its own."""
    import uvicorn

    with installation() as settings:
        if migrate:
            run_migrations(settings)
        # The workers are new processes: what they are to know stands in the environment.
        os.environ["DATABASE_URL"] = settings.dsn
        if worker:
            os.environ["WORKER"] = "true"
        uvicorn.run(
            "app.main:app_from_environment",
            factory=True,
            host=host or settings.host,
            port=settings.port if port is None else port,
            workers=workers,
            access_log=False,
            log_level=settings.log_level,
            server_header=False,
            # TRUSTED_PROXIES says whom to believe, and once is enough
            proxy_headers=False,
        )


@app.command()
def migrate(
    *,
    create_roles: Annotated[
        bool, typer.Option("--create-roles", help="And give the schema roles of its own: docs/operations.md.")
    ] = False,
) -> None:
    """Bring the database to this version's schema. Any number may run at once."""
    with installation() as settings:
        run_migrations(settings, create_roles=create_roles)


@app.command()
def process_jobs() -> None:
    """Do what is due, as a call of /cron/process-jobs does, and print the report."""
    from app.main import handlers_of

    async def work(database: Database) -> str:
        settings = Settings()
        handlers, retention = handlers_of(database, settings), retention_of(settings)
        return (await run_jobs(database, Actor("system", "cli"), handlers, retention, caller="cli")).model_dump_json()

    typer.echo(with_database(work))


@app.command()
def worker() -> None:
    """Do what is due, at the moment it is, until SIGTERM: then end what is at work, and stop."""
    import uvloop

    from app.main import handlers_of

    async def work(settings: Settings) -> None:
        async with open_database(settings) as database:
            worker = Worker(database, settings, handlers_of(database, settings))
            spare_what_stays()
            for stop in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(stop, worker.stop)
            await worker.run()

    with installation() as settings:
        # the loop that uvicorn takes, too
        uvloop.run(work(settings))


@app.command()
def jobs() -> None:
    """Show how the jobs stand."""
    for table in tables_of(json.loads(with_database(job_stats))):
        Console().print(table)


@imports.command("bookings")
def import_bookings_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV with a header line, or a JSON array.")],
    timezone: Annotated[str, typer.Option(help="The zone of resources that have to be made.")] = "UTC",
) -> None:
    """Import bookings; again, if you like: a known external_id stays as it is. The last line is a JSON summary."""
    if not is_timezone(timezone):
        raise typer.BadParameter(f"{timezone} is not an IANA time zone", param_hint="--timezone")  # noqa: TRY003, EM102

    def report(number: int, external_id: str | None, reason: str) -> None:
        typer.echo(f"row {number} (external_id={external_id}): {reason}", err=True)

    async def work(database: Database) -> dict[Any, int]:
        return await import_bookings(database, OPERATOR, read_rows(file), timezone, report)

    counts = with_database(work)
    typer.echo(json.dumps(counts))
    if counts["failed"]:
        raise typer.Exit(1)


@app.command()
def doctor() -> None:
    """Say what is configured, and what is wrong with it."""
    from app.doctor import examine

    with installation() as settings:
        healthy = asyncio.run(examine(settings, embedded_server=Settings().database_url is None))
    raise typer.Exit(0 if healthy else 1)


@app.command()
def openapi() -> None:
    """Print the API description."""
    from app.main import create_app

    typer.echo(json.dumps(create_app(Settings()).openapi(), indent=2))


def main() -> None:
    """Run the command; whatever ends it, leave through the doors that stop what we started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except ValidationError as error:
        for wrong in error.errors():
            notes.print(f"{'.'.join(map(str, wrong['loc'])).upper()}: {wrong['msg']}", highlight=False)
        sys.exit(2)
    except (embedded.EmbeddedPostgresError, OSError, asyncpg.PostgresError, Problem, ValueError) as error:
        notes.print(f"{type(error).__name__}: {error}", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
