"""What came of handing a message to whoever delivers it."""

from datetime import timedelta
from typing import Literal, NamedTuple


class Delivery(NamedTuple):
    """`sent`; `refused`, for good; `unavailable`, and it surely did not leave; `unclear`, where nobody knows.

    `detail` is a code or a kind of error, never a sentence: those repeat addresses and secrets.
    """

    finding: Literal["sent", "refused", "unavailable", "unclear"]
    detail: str | None = None
    provider_ref: str | None = None
    retry_after: timedelta | None = None
