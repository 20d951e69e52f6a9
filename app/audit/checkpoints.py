"""Checkpoints: where every chain of the audit trail stood, signed, to be kept out of the database owner's reach."""

import asyncio
import base64
import json
from typing import Any, NamedTuple

from asyncpg import Record

from app.audit import queries
from app.database import Database
from app.signatures import SigningKey, is_signed

# how long to wait for writers that were under way
PATIENCE = 30.0
PAUSE = 0.1


class Checkpoint(NamedTuple):
    """What was the case, as text, and who says so."""

    statement: str
    signature: bytes | None

    @property
    def number(self) -> int:
        """Its place among the checkpoints."""
        return int(json.loads(self.statement)["number"])

    def dump(self, public_key: str | None) -> str:
        """The checkpoint as a line to keep elsewhere."""
        signature = base64.b64encode(self.signature).decode() if self.signature else None
        return json.dumps({"statement": self.statement, "signature": signature, "public_key": public_key})


class Fault(NamedTuple):
    """One thing that is wrong: with which subject, which row of the trail, and in what way."""

    subject_type: str
    subject_id: str
    audit_id: int | None
    fault: str


class Report(NamedTuple):
    """What verifying came to."""

    entries: int
    checkpoints: int
    # each vouches for the rows that it emptied
    erasures: int
    # what is older went by months, on record
    dropped_before: str | None
    fault_count: int
    # the first thousand
    faults: list[Fault]


def load_checkpoint(text: str) -> Checkpoint:
    """The checkpoint that `dump` wrote. Raises ValueError for anything else."""
    try:
        checkpoint = _checkpoint_of(json.loads(text))
        _ = checkpoint.number
    except (KeyError, TypeError, ValueError):
        msg = "this is no checkpoint as `holdfast audit checkpoint` prints it"
        raise ValueError(msg) from None
    return checkpoint


def _checkpoint_of(written: dict[str, Any]) -> Checkpoint:
    signature = base64.b64decode(written["signature"]) if written["signature"] else None
    return Checkpoint(str(written["statement"]), signature)


async def make_checkpoint(db: Database, key: SigningKey | None, patience: float = PATIENCE) -> Checkpoint:
    """A new checkpoint, over all that was written before.

    Raises TimeoutError when it waited so many seconds in vain for writers to end, or for old rows to be chained.
    """
    mark = await queries.audit_mark(db)
    for _ in range(round(patience / PAUSE)):
        checkpoint = await _attempt(db, mark, key)
        if checkpoint is not None:
            return checkpoint
        await asyncio.sleep(PAUSE)
    msg = "somebody has been writing for long, or rows from before chains wait for `holdfast process-jobs`"
    raise TimeoutError(msg)


async def _attempt(db: Database, mark: Record, key: SigningKey | None) -> Checkpoint | None:
    statement = await queries.draft_audit_checkpoint(db, mark)
    if statement is None:
        return None
    checkpoint = Checkpoint(statement, key.sign(statement) if key else None)
    return checkpoint if await queries.put_audit_checkpoint(db, *checkpoint) else None


async def verify(db: Database, kept: Checkpoint | None, public_key: str | None) -> Report:
    """Everything that is wrong with the trail, its checkpoints, and the one that was kept elsewhere."""
    found = await queries.verify_audit_log(db)
    faults = [Fault(**fault) for fault in found["faults"]]
    here = {stored["number"]: _checkpoint_of(stored) for stored in found["checkpoints"]}
    checked = list(here.values())
    if kept is not None:
        checked.append(kept)
        if kept.number not in here or here[kept.number].statement != kept.statement:
            fault = "replaced" if kept.number in here else "missing"
            faults.append(Fault("checkpoint", str(kept.number), None, fault))
    if public_key is not None:
        faults += [
            Fault(
                "checkpoint", str(checkpoint.number), None, "not signed" if checkpoint.signature is None else "forged"
            )
            for checkpoint in checked
            if checkpoint.signature is None or not is_signed(public_key, checkpoint.statement, checkpoint.signature)
        ]
    more = len(faults) - len(found["faults"])
    return Report(
        found["entries"], len(here), found["erasures"], found["dropped_before"], found["fault_count"] + more, faults
    )
