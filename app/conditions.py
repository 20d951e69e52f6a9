"""The headers that make a write safe to repeat: If-Match with an ETag, and Idempotency-Key."""

import hashlib
import re
from typing import Annotated

from fastapi import Depends, Header
from pydantic import BaseModel

from app.errors import Problem


def etag(version: int) -> str:
    """The strong ETag of a version."""
    return f'"{version}"'


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


IfMatch = Annotated[int, Depends(_version)]
IdempotencyKey = Annotated[str | None, Depends(_key)]


def fingerprint(body: BaseModel, *target: object) -> bytes:
    """What tells two requests under one idempotency key apart: the validated body and what it is aimed at."""
    return hashlib.sha256("\n".join([*map(str, target), body.model_dump_json()]).encode()).digest()
