"""`holdfast jobs`: how the jobs stand, as tables a person can read."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

STATUSES = ("pending", "processing", "processed", "skipped", "cancelled", "discarded")


def tables_of(stats: Mapping[str, Any]) -> Iterator[Table]:
    """What `job_stats` answers: types by status, then the queues, then who came when."""
    yield _counts(stats)
    if stats["queues"]:
        yield _queues(stats)
    yield _callers(stats)


def _counts(stats: Mapping[str, Any]) -> Table:
    late = stats["lateness_ms"]
    due = (
        f"{stats['due']:,} due, the oldest for {_duration(stats['oldest_due_age_ms'])}"
        if stats["due"]
        else "nothing due"
    )
    due += f"; {stats['stuck']:,} stuck" if stats["stuck"] else ""
    caption = due + (f"; late p50 {_duration(late['p50'])}, p99 {_duration(late['p99'])}" if late["jobs"] else "")
    table = Table(
        title="jobs", title_justify="left", caption=caption, caption_justify="left", box=None, padding=(0, 1, 0, 0)
    )
    table.add_column("type", no_wrap=True)
    for status in STATUSES:
        table.add_column(status, justify="right")
    counts = {(count["job_type"], count["status"]): count["count"] for count in stats["counts"]}
    for job_type in sorted({job_type for job_type, _ in counts}):
        table.add_row(job_type, *(f"{counts.get((job_type, status), 0):,}" for status in STATUSES))
    return table


def _queues(stats: Mapping[str, Any]) -> Table:
    table = Table(title="queues", title_justify="left", box=None, padding=(0, 1, 0, 0))
    for heading in ("queue", "due", "running", "at most", "apart", "paused"):
        table.add_column(heading, justify="left" if heading in ("queue", "paused") else "right")
    for queue in stats["queues"]:
        limit = f"{queue['max_running']:,}" if queue["max_running"] else "-"
        paused = (queue["pause_reason"] or "yes") if queue["paused"] else "-"
        apart = f"{queue['stagger_ms']} ms" if queue["stagger_ms"] else "-"
        table.add_row(queue["name"], f"{queue['due']:,}", f"{queue['running']:,}", limit, apart, paused)
    return table


def _callers(stats: Mapping[str, Any]) -> Table:
    caption = None if stats["callers"] else "nobody has ever come: schedule /cron/process-jobs, or start a worker"
    table = Table(
        "caller", "last seen", "runs", "open", title="callers", title_justify="left", box=None, padding=(0, 1, 0, 0)
    )
    table.caption, table.caption_justify = caption, "left"
    for caller in stats["callers"]:
        ago = datetime.now(UTC) - datetime.fromisoformat(caller["last_seen_at"])
        seen = f"{_duration(max(ago.total_seconds(), 0) * 1000)} ago"
        table.add_row(caller["caller"], seen, f"{caller['runs']:,}", f"{caller['open']:,}")
    return table


def _duration(milliseconds: float) -> str:
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if milliseconds >= size:
            return f"{milliseconds / size:.1f} {unit}"
    return f"{milliseconds:.0f} ms"
