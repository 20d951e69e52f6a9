"""API keys as admins make and see them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from app.schemas import Input, Name
from app.security import Scope

MAX_DAYS = 3650


class ApiKeyCreate(Input):
    """A key to be made."""

    name: Name = Field(description="Whom it is for.", examples=["shop"])
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3, examples=[["frontend"]])]
    expires_in_days: Annotated[int, Field(strict=True, ge=1, le=MAX_DAYS)] | None = Field(
        None, description="Left out or null: it does not end by itself."
    )


class ApiKeyRotation(Input):
    """How an old key gives way to a new one."""

    overlap_seconds: Annotated[int, Field(strict=True, ge=0, le=30 * 86_400)] = Field(
        86_400, description="For how long the old key opens what it did; 0 ends it at once."
    )


class ApiKey(BaseModel):
    """What is known of a key."""

    id: UUID
    name: str
    prefix: str = Field(description="The key's first characters, to tell it by.", examples=["hf_3qVt0wRk"])
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute; null: not yet.")
    revoked_at: datetime | None


class ApiKeys(BaseModel):
    """Every key, newest first."""

    items: list[ApiKey]


class ApiKeySecret(BaseModel):
    """A new key, which no other call answers."""

    api_key: ApiKey
    key: str = Field(description="Send it as bearer token. Shown this once.", examples=["hf_…"])
