"""What the server says of owners, grants and policies, for migrations.roles. `{schema}` is a checked identifier."""

# `role=RIGHT`, for each right that is granted; PUBLIC is a role of that name
GRANTS = """ARRAY(
    SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END || '=' || a.privilege_type
    FROM aclexplode(coalesce({acl}, acldefault({kind}, {owner}))) a
) AS grants"""


def _grants(kind: str, column: str) -> str:
    return GRANTS.format(acl=f"{column}acl", owner=f"{column}owner", kind=f"'{kind}'")


ME = "SELECT rolname::text, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user"
ROLES = "SELECT rolname::text FROM pg_roles"
SCHEMA = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = '{schema}'"
STRANGER = """
    SELECT current_user::text FROM pg_namespace
    WHERE nspname = '{schema}' AND nspowner = to_regrole('{schema}_owner') AND NOT pg_has_role(nspowner, 'MEMBER')
"""
DATABASE = """
    SELECT quote_ident(d.datname) AS object, pg_has_role(d.datdba, 'USAGE') AS is_mine,
      EXISTS (
        SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
        WHERE a.grantee = 0 AND a.privilege_type IN ('TEMPORARY', 'CREATE')
      ) AS is_open
    FROM pg_database d WHERE d.datname = current_database()
"""
SCHEMA_GRANTS = f"""
    SELECT nspname::text AS object, nspowner::regrole::text AS owner, {_grants("n", "nsp")}
    FROM pg_namespace WHERE nspname = '{{schema}}'
"""
# to acldefault a sequence is a small one
KIND = """(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char" """
# not sequences of identity columns, which go with their tables
RELATIONS = f"""
    SELECT c.relname::text AS name, '{{schema}}.' || quote_ident(c.relname) AS object, c.relkind::text AS kind,
      relowner::regrole::text AS owner,
      {GRANTS.format(acl="relacl", owner="relowner", kind=KIND)},
      ARRAY(
        SELECT a.grantee::regrole::text || '=' || a.privilege_type || ' (' || x.attname || ')'
        FROM pg_attribute x, aclexplode(x.attacl) a
        WHERE x.attrelid = c.oid AND a.grantee <> 0
      ) AS columns
    FROM pg_class c
    WHERE c.relnamespace = '{{schema}}'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
      AND NOT EXISTS (
        SELECT FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
          AND (d.deptype = 'e' OR c.relkind = 'S' AND d.deptype IN ('i', 'a'))
      )
    ORDER BY 1
"""
TYPES = f"""
    SELECT '{{schema}}.' || quote_ident(t.typname) AS object, t.typowner::regrole::text AS owner, {_grants("T", "typ")}
    FROM pg_type t
    LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE t.typnamespace = '{{schema}}'::regnamespace AND (t.typtype IN ('e', 'd', 'r') OR c.relkind = 'c')
    ORDER BY 1
"""
FUNCTIONS = f"""
    SELECT p.proname::text AS name, p.prorettype = 'trigger'::regtype AS is_trigger, p.prosecdef AS is_definer,
      format('{{schema}}.%I(%s)', p.proname, pg_get_function_identity_arguments(p.oid)) AS object,
      p.proowner::regrole::text AS owner, {_grants("f", "pro")}
    FROM pg_proc p
    WHERE p.pronamespace = '{{schema}}'::regnamespace AND p.prokind = 'f'
    ORDER BY 1
"""
TABLES = """
    SELECT c.relname::text AS name, '{schema}.' || quote_ident(c.relname) AS object, c.relrowsecurity AS is_on,
      c.relforcerowsecurity AS is_forced,
      coalesce(array_agg(p.polname::text) FILTER (WHERE p.oid IS NOT NULL), '{{}}') AS policies,
      coalesce(array_agg(obj_description(p.oid, 'pg_policy')) FILTER (WHERE p.oid IS NOT NULL), '{{}}') AS said
    FROM pg_class c
    LEFT JOIN pg_policy p ON p.polrelid = c.oid
    WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p')
    GROUP BY c.oid
    ORDER BY 1
"""
