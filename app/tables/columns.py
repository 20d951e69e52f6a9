"""What every table is made of."""

import sqlalchemy as sa

metadata = sa.MetaData()


class XID8(sa.types.UserDefinedType[int]):
    """The number of a transaction, which never comes again; SQLAlchemy has no name for it."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Postgres's own name of it."""
        return "xid8"


ID = sa.UUID(as_uuid=True)
WHEN = sa.TIMESTAMP(timezone=True)


def timestamps() -> list[sa.Column[object]]:
    """When a row was made, and when it last changed."""
    return [sa.Column("created_at", WHEN, nullable=False), sa.Column("updated_at", WHEN, nullable=False)]
