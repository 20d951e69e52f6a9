"""Crews and their members as clients send and see them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from app.schemas import CustomerInput, Input, Language, Metadata, Name, Page, Timezone


class CrewCreate(Input):
    """A crew, and who organizes it."""

    name: Name = Field(examples=["Tuesday football"])
    organizer: CustomerInput | None = Field(
        None, description="Who books for it, and sees and steers its auto-syncs with a token of their own."
    )
    metadata: Metadata = Field({})


class Crew(BaseModel):
    """A crew."""

    id: UUID
    name: str
    organizer_ref: str | None
    members: int = Field(description="How many there are.")
    metadata: Metadata
    created_at: datetime
    updated_at: datetime


class CrewPage(Page):
    """One page of crews, in order of creation."""

    items: list[Crew]


class MemberCreate(CustomerInput):
    """Who joins. Language and zone are the customer's preferences from then on."""

    language: Language | None = None
    timezone: Timezone | None = None


class Member(BaseModel):
    """A member of a crew. Other members see it, so it has neither email nor phone."""

    id: UUID
    crew_id: UUID
    customer_ref: str | None
    name: str | None
    joined_at: datetime
    left_at: datetime | None


class MemberPage(Page):
    """One page of members, in the order in which they joined."""

    items: list[Member]


class ListQuery(BaseModel):
    """Which page to read."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: str | None = None


class CrewFilters(ListQuery):
    """Which crews to list."""

    customer_ref: Name | None = Field(None, description="A customer with a token sees own ones whatever it says.")
