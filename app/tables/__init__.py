"""The schema in a few pages, for readers and for Alembic. A test holds them against the migrated database.

Nothing is queried through these tables: the runtime calls the functions in `sql/`. Checks, defaults and triggers live
in the migrations; here stand the columns, keys and indexes.
"""

from app.tables import auto_syncs, bookings, jobs, messages, providers, records, webhooks
from app.tables.columns import metadata

__all__ = ["auto_syncs", "bookings", "jobs", "messages", "metadata", "providers", "records", "webhooks"]
