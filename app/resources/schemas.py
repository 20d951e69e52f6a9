"""Resources as clients send and see them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from app.schemas import Input, Metadata, Name, Page, Timezone


class ResourceCreate(Input):
    """What can be booked: a pitch, a class, a counter."""

    name: Name
    timezone: Timezone
    metadata: Annotated[Metadata, Field(default_factory=dict)]


class ResourceUpdate(Input):
    """The fields to change; what is absent stays."""

    name: Name | None = None
    timezone: Timezone | None = None
    metadata: Metadata | None = None


class Resource(BaseModel):
    """A resource."""

    id: UUID
    name: str
    timezone: str
    metadata: Metadata
    version: int
    created_at: datetime
    updated_at: datetime


class ResourcePage(Page):
    """One page of resources, in order of creation."""

    items: list[Resource]
