"""An erasure and the forgetting of addresses find their rows of the audit trail by indexes, built while everybody writes.

Revision ID: 0035
Revises: 0034
"""

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

INDEXES = {
    "audit_log_request_id_idx": "USING hash (request_id)",
    "audit_log_performed_by_id_idx": "(performed_by_id) WHERE performed_by_id LIKE 'customer:%'",
    "audit_log_credentials_idx": (
        "((COALESCE(new_values, old_values) ->> 'customer_id')) WHERE subject_type = 'credentials'"
    ),
    "audit_log_address_idx": "(created_at) WHERE address_salt IS NOT NULL",
}


def upgrade() -> None:
    if op.get_context().as_sql:
        # for an empty database, and in one transaction
        for name, what in INDEXES.items():
            op.execute(f"CREATE INDEX {name} ON audit_log {what}")
        return
    # outside a transaction the names are looked for elsewhere
    schema = op.get_context().version_table_schema
    with op.get_context().autocommit_block():
        for name, what in INDEXES.items():
            # of an attempt that came to nothing an index is left that nobody may use
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema}.{name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {schema}.audit_log {what}")


def downgrade() -> None:
    for name in reversed(INDEXES):
        op.execute(f"DROP INDEX {name}")
