"""What every part of the story is told with."""

from rich.console import Console

from app.security import Actor

OPERATOR = Actor("admin", "demo")

console = Console(highlight=False)
