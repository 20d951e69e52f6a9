"""Providers as admins send and see them."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.schemas import Clock, Days, Input, MaxRunning, Metadata, Name, StaggerMs, Timezone

ProviderName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", examples=["gametime"])]


class ProviderRules(Input):
    """How to book at a provider, and when booking opens there. Wall-clock times are in its own time zone."""

    adapter: Name = Field(description="The adapter that speaks with it.", examples=["http_json"])
    settings: Annotated[
        Metadata, Field(default_factory=dict, description="What the adapter needs to know. No secrets.")
    ]
    timezone: Timezone
    booking_window_days: Days | None = Field(None, description="Booking opens this many days before the date.")
    opens_at_local: Clock = Field("00:00", description="The time of that day at which it opens.")
    stagger_ms: StaggerMs = Field(50, description="The least time between two starts within one run or worker.")
    max_running: MaxRunning | None = Field(None, description="The most that may be under way there at once.")
    is_enabled: bool = True


class Provider(ProviderRules):
    """A provider."""

    name: str
    queue: str = Field(description="Where its jobs wait; it can be paused.", examples=["provider:gametime"])
    version: int
    created_at: datetime
    updated_at: datetime


class Providers(BaseModel):
    """Every provider, by name."""

    items: list[Provider]
