"""`holdfast audit`: whether the audit trail is as it was written."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app.audit.checkpoints import Report, load_checkpoint, make_checkpoint
from app.audit.checkpoints import verify as verify_trail
from app.installation import notes, with_database
from app.settings import Settings

audit = typer.Typer(no_args_is_help=True, help="Whether the audit trail is as it was written.")


@audit.command()
def checkpoint() -> None:
    """Make a checkpoint and print it, alone, on standard output. Keep it where the database's owner cannot reach."""
    key = Settings().key_of_checkpoints
    made = with_database(lambda database: make_checkpoint(database, key), takes_long=True)
    typer.echo(made.dump(key.public if key else None))
    if key is None:
        notes.print("it is not signed: AUDIT_SIGNING_KEY is not set")


@audit.command()
def verify(
    checkpoint: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A checkpoint that was kept elsewhere.")
    ] = None,
    public_key: Annotated[
        str | None, typer.Option(help="What the checkpoints are signed with; else AUDIT_SIGNING_KEY's.")
    ] = None,
) -> None:
    """Say what was changed, removed, added or put in another order. Exits with 1 when anything was."""
    key = Settings().key_of_checkpoints
    trusted = public_key or (key.public if key else None)
    kept = load_checkpoint(checkpoint.read_text()) if checkpoint else None
    report = with_database(lambda database: verify_trail(database, kept, trusted), takes_long=True)
    _show(report)
    if trusted is None and report.checkpoints:
        notes.print("who signed the checkpoints was not looked at: give --public-key")
    if report.faults:
        raise typer.Exit(1)


def _show(report: Report) -> None:
    console = Console(highlight=False)
    if report.faults:
        table = Table("subject", "id", "entry", "what is wrong", box=None, padding=(0, 2), header_style="dim")
        for fault in report.faults:
            table.add_row(fault.subject_type, fault.subject_id, str(fault.audit_id or ""), fault.fault)
        console.print(table)
    console.print(
        f"{report.entries} entries, {report.checkpoints} checkpoints, {report.erasures} erasures:"
        f" {report.fault_count or 'no'} faults"
        + (f"; all before {report.dropped_before[:10]} was dropped" if report.dropped_before else "")
        + (f", the first {len(report.faults)} of them above" if len(report.faults) < report.fault_count else ""),
        soft_wrap=True,
    )
