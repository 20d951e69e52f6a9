"""What lives as long as the process is not looked through for garbage again and again."""

import gc

# A request or a job makes some hundred objects that a collection looks at, and hardly ever a cycle: so a collection
# comes once in dozens of them, not with nearly every one as it would by Python's own figure of 700.
YOUNG_OBJECTS = 10_000


def spare_what_stays() -> None:
    """Never again look through what there is now: to be called once, when what serves has been made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
