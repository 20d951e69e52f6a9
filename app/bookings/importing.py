"""Carry bookings over from another system: `holdfast import bookings FILE`."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import asyncpg
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from app.bookings import queries
from app.database import Database
from app.errors import problem_of
from app.schemas import CustomerInput, Instant, Name, PaymentMethod, PaymentStatus, Status, Timezone
from app.security import Actor

BATCH_SIZE = 500
# Where a row has no end, as the booking systems this replaces had it.
DEFAULT_LENGTH = timedelta(hours=1)
STATUS_WORDS = {"active": "confirmed", "canceled": "cancelled", "no-show": "no_show"}

Outcome = Literal["created", "unchanged", "failed"]
OnError = Callable[[int, str | None, str], None]


def _status(word: object) -> object:
    return STATUS_WORDS.get(word.lower(), word.lower()) if isinstance(word, str) else word


def _column(*names: str) -> Any:  # noqa: ANN401 - pydantic's field
    return Field(validation_alias=AliasChoices(*names))


class ImportRow(BaseModel):
    """One booking of the file. Columns of the same meaning go by several names; an empty cell is an absent one."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    external_id: Annotated[Name, _column("external_id", "id")]
    resource: Annotated[Name, _column("resource", "resource_id", "pitch_id")]
    starts_at: Annotated[Instant, _column("starts_at", "slot_datetime")]
    ends_at: Annotated[Instant | None, _column("ends_at", "slot_datetime_end")] = None
    status: Annotated[Status, BeforeValidator(_status)] = "confirmed"
    customer_ref: Annotated[Name | None, _column("customer_ref", "user_id")] = None
    customer_name: Name | None = None
    customer_email: Name | None = None
    customer_phone: Name | None = None
    units: Annotated[int, Field(ge=1, le=10_000)] = 1
    payment_method: PaymentMethod = "pay_on_arrival"
    payment_status: PaymentStatus = "pending"

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, row: object) -> object:
        return {name: cell for name, cell in row.items() if cell not in ("", None)} if isinstance(row, dict) else row

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end <= self.starts_at:
            msg = "ends_at must come after starts_at"
            raise ValueError(msg)
        return self

    @property
    def end(self) -> datetime:
        """When it ends; an hour after its start where the file does not say."""
        return self.ends_at or self.starts_at + DEFAULT_LENGTH

    def arguments(self, timezone: Timezone) -> dict[str, Any]:
        """The row as import_booking takes it; `timezone` is for a resource that has to be made."""
        customer = CustomerInput(
            ref=self.customer_ref, name=self.customer_name, email=self.customer_email, phone=self.customer_phone
        )
        return {
            "external_id": self.external_id,
            "resource": self.resource,
            "timezone": timezone,
            "starts_at": self.starts_at.isoformat(),
            "ends_at": self.end.isoformat(),
            "status": self.status,
            "customer": customer.model_dump(exclude_none=True),
            "units": self.units,
            "payment_method": self.payment_method,
            "payment_status": self.payment_status,
        }


def read_rows(path: Path) -> Iterator[object]:
    """The file's rows: a JSON array of objects, or CSV with a header line.

    Raises OSError when it cannot be read and ValueError when it is not what its name says.
    """
    if path.suffix.lower() == ".json":
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(rows, list):
            msg = "the JSON file must hold an array of objects"
            raise ValueError(msg)
        yield from rows
    else:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield from csv.DictReader(file)


async def import_bookings(
    db: Database, actor: Actor, rows: Iterable[object], timezone: Timezone, on_error: OnError
) -> dict[Outcome, int]:
    """Bring the rows in, batch by batch, and count what became of them.

    Known external ids stay as they are, so the same file may be imported again. `on_error` is told each row that
    could not come in: its number from 1, its external id, and why. Raises what the database raises when it is gone.
    """
    counts: Counter[Outcome] = Counter()

    def fail(number: int, external_id: str | None, reason: str) -> None:
        counts["failed"] += 1
        on_error(number, external_id, reason)

    valid = _valid_rows(rows, timezone, fail)
    while batch := list(islice(valid, BATCH_SIZE)):
        try:
            counts.update(await queries.import_bookings(db, actor, [row for _, row in batch]))  # type: ignore[arg-type]
        except asyncpg.PostgresError:
            await _import_one_by_one(db, actor, batch, counts, fail)
    return {"created": counts["created"], "unchanged": counts["unchanged"], "failed": counts["failed"]}


async def _import_one_by_one(
    db: Database,
    actor: Actor,
    batch: Iterable[tuple[int, dict[str, Any]]],
    counts: Counter[Outcome],
    fail: OnError,
) -> None:
    for number, row in batch:
        try:
            counts.update(await queries.import_bookings(db, actor, [row]))  # type: ignore[arg-type]
        except asyncpg.PostgresError as error:
            problem = problem_of(error)
            fail(number, row["external_id"], str(error) if problem.code == "internal" else problem.code)


def _valid_rows(rows: Iterable[object], timezone: Timezone, fail: OnError) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, raw in enumerate(rows, start=1):
        try:
            yield number, ImportRow.model_validate(raw).arguments(timezone)
        except ValidationError as error:
            external_id = raw.get("external_id") if isinstance(raw, dict) else None
            reasons = (f"{'.'.join(map(str, e['loc'])) or 'row'}: {e['msg']}" for e in error.errors())
            fail(number, external_id, "; ".join(reasons))
