"""What every table is made of."""

import sqlalchemy as sa

metadata = sa.MetaData()

ID = sa.UUID(as_uuid=True)
WHEN = sa.TIMESTAMP(timezone=True)


def timestamps() -> list[sa.Column[object]]:
    """When a row was made, and when it last changed."""
    return [sa.Column("created_at", WHEN, nullable=False), sa.Column("updated_at", WHEN, nullable=False)]
