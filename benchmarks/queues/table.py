"""Rows of the table, as every measurement makes them."""

from statistics import median
from typing import NamedTuple

from benchmarks.figures import Ratio


class Row(NamedTuple):
    """One line: what it is of, and its figures as they are shown."""

    what: str
    rate: str = ""
    ratio: str = ""
    p50: str = ""
    p99: str = ""


def show_rate(values: list[float]) -> str:
    """The median of rates."""
    return f"{median(values):,.0f}"


def show_ratio(ratio: Ratio) -> str:
    """The median, and the lowest and the highest round."""
    middle, lowest, highest = (
        f"{value:.2f}" if value < 10 else f"{value:.0f}" for value in (ratio.median, ratio.lowest, ratio.highest)
    )
    return f"{middle} ({lowest}-{highest})"


def show_ms(values: list[float]) -> str:
    """The median of milliseconds."""
    value = median(values)
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"
