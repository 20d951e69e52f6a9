"""One call a function of sql/: providers."""

from datetime import time

from app.database import Database
from app.providers.schemas import ProviderRules
from app.security import Actor


async def put_provider(db: Database, actor: Actor, name: str, rules: ProviderRules) -> str:
    """The provider with these rules, as JSON."""
    return str(
        await db.call_value(
            "put_provider",
            p_actor=actor.json(),
            p_name=name,
            p_adapter=rules.adapter,
            p_settings=rules.settings,
            p_timezone=rules.timezone,
            p_booking_window_days=rules.booking_window_days,
            p_opens_at_local=time.fromisoformat(rules.opens_at_local),
            p_is_enabled=rules.is_enabled,
            p_max_running=rules.max_running,
            p_stagger_ms=rules.stagger_ms,
        )
    )


async def get_provider(db: Database, name: str) -> str:
    """One provider as JSON. Raises provider_not_found."""
    return str(await db.call_value("get_provider", p_name=name))


async def list_providers(db: Database) -> str:
    """Every provider as JSON."""
    return str(await db.call_value("list_providers"))
