"""The booking that both sides make: the same words, whether pgbench says them in SQL or a client over HTTP."""

from dataclasses import dataclass

# Ids are a prefix and twelve digits, so that each side makes one out of a random number.
SLOT_PREFIX = "00000000-0000-4000-8000-"
CUSTOMER_PREFIX = "customer-"
CUSTOMER_NAME = "Ann Example"
USER_AGENT = "holdfast-benchmark/1.0"
METADATA = '{"source": "benchmark"}'

# Twelve and six digits whatever is added: every request then has the same length.
FIRST_SLOT = 100_000_000_000
FIRST_CUSTOMER = 100_000


@dataclass(frozen=True)
class Target:
    """The slots that a run books, from `first` to `last`; one slot is a target too."""

    name: str
    first: int
    last: int

    @classmethod
    def one(cls, name: str, slot: int) -> "Target":
        """All bookings go to this slot."""
        return cls(name, slot, slot)


HOT_SLOT = 100_000_500_000
CROWDED_SLOT = 100_000_600_000
FIRST_EMPTY_SLOT = 100_000_700_000
FIRST_DUE_SLOT = 200_000_000_000


def spread(slots: int) -> Target:
    """Bookings that seldom meet in a slot."""
    return Target(f"{slots:,} slots", FIRST_SLOT, FIRST_SLOT + slots - 1)


HOT = Target.one("one hot slot", HOT_SLOT)
