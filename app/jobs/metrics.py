"""GET /metrics: how the jobs stand, in Prometheus's text format.

Everything is read from the database when asked: the answer is the same whichever process gives it, and it counts what
every cron call and every worker did.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class _Snapshot(Collector):
    def __init__(self, stats: Mapping[str, Any], heartbeat: Mapping[str, Any], overdue_ms: int) -> None:
        self._stats = stats
        self._heartbeat = heartbeat
        self._overdue_ms = overdue_ms

    def collect(self) -> Iterable[Metric]:
        yield from self._work()
        yield from self._queues()
        yield from self._callers()

    def _work(self) -> Iterator[Metric]:
        counts = GaugeMetricFamily("holdfast_jobs", "Jobs by type and status.", labels=["job_type", "status"])
        for count in self._stats["counts"]:
            counts.add_metric([count["job_type"], count["status"]], count["count"])
        yield counts
        yield GaugeMetricFamily("holdfast_jobs_due", "Jobs that are due.", value=self._stats["due"])
        age = self._stats["oldest_due_age_ms"] / 1000
        yield GaugeMetricFamily("holdfast_jobs_oldest_due_age_seconds", "How long the oldest has waited.", value=age)
        yield GaugeMetricFamily("holdfast_jobs_stuck", "Running longer than leased.", value=self._stats["stuck"])
        lateness = GaugeMetricFamily(
            "holdfast_jobs_lateness_seconds",
            "First attempts of the last hour: how late they began.",
            labels=["quantile"],
        )
        for quantile, name in (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99")):
            if self._stats["lateness_ms"][name] is not None:
                lateness.add_metric([quantile], self._stats["lateness_ms"][name] / 1000)
        yield lateness

    def _queues(self) -> Iterator[Metric]:
        paused = GaugeMetricFamily("holdfast_job_queue_paused", "Whether nobody claims from it.", labels=["queue"])
        running = GaugeMetricFamily("holdfast_job_queue_running", "Jobs that run.", labels=["queue"])
        for queue in self._stats["queues"]:
            paused.add_metric([queue["name"]], queue["paused"])
            running.add_metric([queue["name"]], queue["running"])
        yield paused
        yield running

    def _callers(self) -> Iterator[Metric]:
        if self._heartbeat["last_run_age_ms"] is not None:
            yield GaugeMetricFamily(
                "holdfast_jobs_last_run_age_seconds",
                "How long ago somebody last came to do what is due.",
                value=self._heartbeat["last_run_age_ms"] / 1000,
            )
        overdue = is_overdue(self._heartbeat, self._overdue_ms)
        yield GaugeMetricFamily(
            "holdfast_jobs_overdue", "1 where due work waits too long, or nobody comes.", value=overdue
        )


def is_overdue(heartbeat: Mapping[str, Any], overdue_ms: int) -> bool:
    """Whether due work has waited longer than that, or nobody has come for as long."""
    last_run = heartbeat["last_run_age_ms"]
    return heartbeat["oldest_due_age_ms"] > overdue_ms or last_run is None or last_run > overdue_ms


def metrics_of(stats: Mapping[str, Any], heartbeat: Mapping[str, Any], overdue_ms: int) -> bytes:
    """The numbers in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(stats, heartbeat, overdue_ms))
    return generate_latest(registry)
