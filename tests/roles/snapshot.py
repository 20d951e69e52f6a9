"""Every right in the schema on a page, to be compared byte for byte.

.venv/bin/python -m tests.roles.snapshot > tests/roles/rights.txt
"""

import asyncio
import sys
from pathlib import Path

import asyncpg

from app import embedded
from tests.migrations.support import connected
from tests.roles.support import give_roles

PAGE = Path(__file__).with_name("rights.txt")

# nothing of a grant is left out: whoever it is to, and on columns too
GRANTED = """(
    SELECT coalesce(string_agg(g.who || '=' || g.rights, ' ' ORDER BY g.who), '-')
    FROM (
      SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS who,
        string_agg(a.privilege_type || CASE WHEN a.is_grantable THEN '*' ELSE '' END, ',' ORDER BY a.privilege_type)
          AS rights
      FROM aclexplode(coalesce({acl}, acldefault({kind}, {owner}))) a
      WHERE a.grantee <> {owner}
      GROUP BY a.grantee
    ) g
)"""
KIND = """(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char" """
RIGHTS = {
    "roles": """
        SELECT concat_ws(' ', r.rolname,
          CASE WHEN r.rolcanlogin THEN 'login' END, CASE WHEN r.rolsuper THEN 'superuser' END,
          CASE WHEN r.rolbypassrls THEN 'bypassrls' END, CASE WHEN r.rolcreaterole THEN 'createrole' END,
          CASE WHEN r.rolcreatedb THEN 'createdb' END, CASE WHEN r.rolreplication THEN 'replication' END,
          'in ' || nullif(array_to_string(ARRAY(
            SELECT m.roleid::regrole::text FROM pg_auth_members m WHERE m.member = r.oid ORDER BY 1), ','), ''))
        FROM pg_roles r
        WHERE r.rolname ~ '^holdfast_(owner|bound|migrator|app|worker|readonly|auditor)$'""",
    "schema": f"""
        SELECT concat_ws(' ', nspname, 'of', nspowner::regrole,
          {GRANTED.format(acl="nspacl", kind="'n'", owner="nspowner")})
        FROM pg_namespace WHERE nspname = 'holdfast'""",
    "tables and sequences": f"""
        SELECT DISTINCT concat_ws(' ', CASE WHEN c.relispartition THEN 'partitions' ELSE c.relname END, 'of',
          c.relowner::regrole, CASE WHEN c.relrowsecurity THEN 'rls' END,
          CASE WHEN c.relforcerowsecurity THEN 'forced' END,
          {GRANTED.format(acl="c.relacl", owner="c.relowner", kind=KIND)})
        FROM pg_class c
        WHERE c.relnamespace = 'holdfast'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')""",
    "columns": """
        SELECT concat_ws(' ', c.relname || '.' || x.attname, a.grantee::regrole::text || '=' || a.privilege_type)
        FROM pg_class c
        JOIN pg_attribute x ON x.attrelid = c.oid
        CROSS JOIN LATERAL aclexplode(x.attacl) a
        WHERE c.relnamespace = 'holdfast'::regnamespace""",
    "policies": """
        SELECT concat_ws(' ', tablename, policyname, 'for', lower(cmd), 'to', array_to_string(roles, ','),
          'using', regexp_replace(qual, '\\s+', ' ', 'g'), 'check ' || regexp_replace(with_check, '\\s+', ' ', 'g'))
        FROM pg_policies WHERE schemaname = 'holdfast'""",
    "functions": f"""
        SELECT concat_ws(' ', p.proname, 'of', p.proowner::regrole,
          CASE WHEN p.prosecdef THEN 'definer' ELSE 'invoker' END, array_to_string(p.proconfig, ' '),
          {GRANTED.format(acl="p.proacl", kind="'f'", owner="p.proowner")})
        FROM pg_proc p WHERE p.pronamespace = 'holdfast'::regnamespace""",
    "types": f"""
        SELECT concat_ws(' ', t.typname, 'of', t.typowner::regrole,
          {GRANTED.format(acl="t.typacl", kind="'T'", owner="t.typowner")})
        FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE t.typnamespace = 'holdfast'::regnamespace AND (t.typtype IN ('e', 'd', 'r') OR c.relkind = 'c')""",
}


async def rights(conn: asyncpg.Connection, schema: str = "holdfast") -> str:
    """The page."""
    lines = []
    for what, query in RIGHTS.items():
        found = sorted(row[0] for row in await conn.fetch(query.replace("holdfast", schema)))
        lines += [f"# {what}", *found, ""]
    return "\n".join(lines)


async def _of_a_new_database(dsn: str) -> str:
    await give_roles(dsn)
    async with connected(dsn) as conn:
        return await rights(conn)


if __name__ == "__main__":
    with embedded.temporary() as server:
        sys.stdout.write(asyncio.run(_of_a_new_database(server.url)))
