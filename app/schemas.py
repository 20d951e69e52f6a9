"""The value types that several features share."""

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

# Postgres cannot store NUL in text, so it may not come in.
_NO_NUL = r"^[^\x00]*$"

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=_NO_NUL)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000, pattern=_NO_NUL)]
MAX_DEPTH = 32


def _depth(value: object) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max(map(_depth, parts), default=0)


def _storable(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        if _depth(metadata) > MAX_DEPTH:
            msg = f"must not be nested deeper than {MAX_DEPTH}"
            raise ValueError(msg)
        # Python reads NaN, infinities and lone surrogates from JSON; no other JSON reader would take them back
        json.dumps(metadata, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        msg = f"must not be nested deeper than {MAX_DEPTH}"
        raise ValueError(msg) from None
    return metadata


Metadata = Annotated[
    dict[str, Any], AfterValidator(_storable), Field(description="Anything of yours; stored and answered as it is.")
]

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def _in_range(instant: datetime) -> datetime:
    if not EARLIEST <= instant < LATEST:
        msg = "must lie between the years 2000 and 2200"
        raise ValueError(msg)
    return instant.astimezone(UTC)


@lru_cache
def _timezones() -> frozenset[str]:
    return frozenset(name for name in available_timezones() if name[0].isupper() and name != "Factory")


def is_timezone(name: str) -> bool:
    """Whether `name` is an IANA zone."""
    return name in _timezones()


def _known_timezone(name: str) -> str:
    if not is_timezone(name):
        msg = "is not an IANA time zone, such as Europe/Athens"
        raise ValueError(msg)
    return name


Instant = Annotated[AwareDatetime, AfterValidator(_in_range)]
Timezone = Annotated[str, AfterValidator(_known_timezone), Field(examples=["Europe/Athens"])]


class Input(BaseModel):
    """A request body: unknown fields are an error, so that a typo cannot pass for a default."""

    model_config = ConfigDict(extra="forbid")


class Page(BaseModel):
    """One page of a list."""

    next_cursor: str | None = Field(description="Pass as `cursor` for the next page; null on the last.")
