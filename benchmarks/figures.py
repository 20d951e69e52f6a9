"""Figures of single runs, and what several runs say together."""

from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Run:
    """One measured run: bookings a second, how many, and milliseconds."""

    rate: float
    done: int
    p50_ms: float
    p99_ms: float
    others: dict[str, int] = field(default_factory=dict)
    """Answers that were not a booking, by status."""
    client_cpu_us: float | None = None
    """CPU time of the load generator for one request; it takes it from the same cores."""


@dataclass(frozen=True)
class Summary:
    """The medians of several runs."""

    rate: float
    p50_ms: float
    p99_ms: float
    others: dict[str, int]


@dataclass(frozen=True)
class Ratio:
    """One side against the other, round by round: the median, and the lowest and highest round."""

    median: float
    lowest: float
    highest: float


def summarize(runs: list[Run]) -> Summary:
    """The median of each figure; answers that were no booking are added up."""
    statuses = sorted({status for run in runs for status in run.others})
    return Summary(
        rate=median(run.rate for run in runs),
        p50_ms=median(run.p50_ms for run in runs),
        p99_ms=median(run.p99_ms for run in runs),
        others={status: sum(run.others.get(status, 0) for run in runs) for status in statuses},
    )


def compare(ours: list[float], theirs: list[float]) -> Ratio:
    """`ours` as a share of `theirs`; a pair was measured one right after the other, so noise hits both."""
    ratios = [mine / yours for mine, yours in zip(ours, theirs, strict=True)]
    return Ratio(median(ratios), min(ratios), max(ratios))


def percentile(ordered: list[float], percent: float) -> float:
    """The value that `percent` of these ordered values do not exceed; 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
