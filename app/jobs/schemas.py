"""What a run of the job processor reports."""

from pydantic import BaseModel, Field


class RunReport(BaseModel):
    """What one run did, and what it left."""

    instance_id: str = Field(description="This run's own id, in the logs too.")
    claimed: int
    processed: int
    retried: int = 0
    skipped: int = 0
    discarded: int = 0
    released: int = 0
    rescued: int = 0
    remaining_due: int | None = Field(description="Jobs still due when the run ended; null if counting took too long.")
    oldest_due_age_ms: int | None = Field(description="How long the oldest of them has waited.")
    elapsed_ms: int
    budget_exhausted: bool = Field(description="Whether the run ended for lack of time, not of work.")
