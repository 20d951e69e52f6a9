"""What every measurement is given: the server, the systems, the sizes, and a fresh database when it asks."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from app.migrate import migrate
from app.settings import Settings
from benchmarks.database import BackDoor
from benchmarks.queues.plan import QueuePlan
from benchmarks.queues.systems import OURS, System


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark."""

    url: str
    plan: QueuePlan
    systems: list[System]
    pg_bin: Path | None
    progress: Console
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each system that took part said of itself."""

    @property
    def installed(self) -> list[System]:
        """The systems that are there."""
        return [system for system in self.systems if system.command]

    def named(self, *names: str) -> list[System]:
        """Those of these that are there, in this order."""
        return [system for name in names for system in self.installed if system.name == name]

    def database(self, name: str) -> str:
        """The URL of an empty database of that name."""
        BackDoor(self.url).run(lambda connection: connection.execute(f"CREATE DATABASE {name}"))
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def prepared(self, system: System, purpose: str, future: int = 0) -> str:
        """The URL of a database of this system's own, with so many jobs of the far future."""
        self.progress.print(f"  preparing {system.name}")
        url = self.database(f"{system.slug}_{purpose}")
        self.facts[system.name] = system.run("prepare", url, future)
        return url

    def holdfast(self, purpose: str) -> Settings:
        """Settings of an empty installation of ours, its defaults otherwise."""
        settings = Settings.model_validate({"database_url": self.database(purpose), "log_level": "error"})
        migrate(settings)
        return settings

    @property
    def ours(self) -> System:
        """Our own worker."""
        return self.named(OURS)[0]
