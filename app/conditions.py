"""The headers that make a write safe to repeat (If-Match with an ETag, Idempotency-Key) and a read cheap to repeat."""

import hashlib
import re
from typing import Annotated

from fastapi import Depends, Header
from pydantic import BaseModel

from app.errors import Problem

# the header of an answer that an earlier request with the same key had already
REPLAYED = {"Idempotent-Replayed": "true"}


def etag(tag: str | int | None) -> str:
    """The strong ETag of a version, or of a text of hex digits."""
    return f'"{tag}"'


async def _version(
    if_match: Annotated[str | None, Header(description='The ETag you read, such as `"3"`.')] = None,
) -> int:
    if if_match is None:
        raise Problem("precondition_required")
    match = re.fullmatch(r'"(\d{1,9})"', if_match.strip())
    if match is None:
        # Weak tags, lists and stars never name the one version that the caller has seen.
        raise Problem("version_conflict", 'If-Match takes one ETag, such as "3"')
    return int(match[1])


async def _key(
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            pattern=r"^[\x20-\x7e]+$",
            description="A unique text per intended booking. Repeating the request with it repeats the answer.",
        ),
    ] = None,
) -> str | None:
    if idempotency_key is None:
        return None
    # the draft standard quotes the value, most clients do not: both mean the same key
    key = idempotency_key.strip('"')
    if not key:
        raise Problem("validation", "Idempotency-Key is empty")
    return key


async def _known(
    if_none_match: Annotated[str | None, Header(description="The ETags of the answers you have kept.")] = None,
) -> list[str]:
    # weak or strong makes no difference here (RFC 9110, 13.1.2); what is none of ours matches nothing
    return re.findall(r'"([0-9a-f]{1,16})"', if_none_match or "")


IfMatch = Annotated[int, Depends(_version)]
IdempotencyKey = Annotated[str | None, Depends(_key)]
KnownEtags = Annotated[list[str], Depends(_known)]


def fingerprint(body: BaseModel, *target: object) -> bytes:
    """What tells two requests under one idempotency key apart: the validated body and what it is aimed at."""
    return hashlib.sha256("\n".join([*map(str, target), body.model_dump_json()]).encode()).digest()
