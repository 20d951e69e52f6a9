"""Who may do what in the database: sql/roles/ says it, and this brings a schema to it.

Nothing here touches an installation until `create` has: then the schema is its own owner's, every migration ends with
`keep` in the same transaction, and there is no moment at which a new function is anybody's.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection

from migrations import rolequeries

Row = Mapping[str, Any]

FOLDER = Path(__file__).parent.parent / "sql" / "roles"

# the roles of a schema, and who may log in; functions run as `owner`, or as `bound`, whom row-level policies bind
LOGINS = {
    "owner": False,
    "bound": False,
    "migrator": True,
    "app": True,
    "worker": True,
    "readonly": True,
    "auditor": True,
}
# role, member
MEMBERS = (("bound", "owner"), ("owner", "migrator"), ("worker", "app"))
# to lock a row takes a right to change it: to change no more than when it was
TABLE_RIGHTS = {verb: verb for verb in ("SELECT", "INSERT", "UPDATE", "DELETE", "USAGE")} | {
    "LOCK": "UPDATE (updated_at)"
}
POLICIES = ("whose_it_is", "everybodys", "for_reading")


class RolesError(ValueError):
    """Why the roles cannot be made, or used."""


class Lists(NamedTuple):
    """What sql/roles/ says."""

    # role -> the rights it has, by what they are of
    rights: dict[str, dict[str, set[str]]]
    # table -> which rows are a customer's own
    rows: dict[str, str]

    def may(self, right: str, name: str) -> set[str]:
        """The roles that have a right to something."""
        return {role for role, rights in self.rights.items() if right in rights.get(name, ())}


def lists() -> Lists:
    """Read them."""
    rights: dict[str, dict[str, set[str]]] = {}
    for role in ("app", "worker", "auditor", "readonly", "bound", "owner"):
        said = (line.split() for line in _lines(role))
        rights[role] = {name: set(verbs) for *verbs, name in said}
    rows = (line.partition(": ") for line in _lines("rows"))
    return Lists(rights, {table: condition for table, _, condition in rows})


def _lines(name: str) -> list[str]:
    lines = (FOLDER / f"{name}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("--")]


def require_migrator(connection: Connection, schema: str) -> None:
    """Return only if we are, or may be, whose the schema is, where it has roles. Raises RolesError."""
    me = connection.exec_driver_sql(rolequeries.STRANGER.format(schema=schema)).scalar()
    if me is not None:
        msg = f"{me} may not migrate the schema {schema}: connect as {schema}_migrator"
        raise RolesError(msg)


def create(connection: Connection, schema: str) -> None:
    """Make the roles that are missing, and give them the schema. Raises RolesError without the right to."""
    # where it runs again, it is as the owner
    connection.exec_driver_sql("SET LOCAL ROLE NONE")
    me = connection.exec_driver_sql(rolequeries.ME).mappings().one()
    found = set(connection.exec_driver_sql(rolequeries.ROLES).scalars())
    if not (me["rolsuper"] or me["rolcreaterole"] or found >= {f"{schema}_{role}" for role in LOGINS}):
        msg = f"{me['rolname']} may not create roles: run this as a superuser, or as a role with CREATEROLE"
        raise RolesError(msg)
    for role, may_log_in in LOGINS.items():
        _unless_there(connection, f"CREATE ROLE {schema}_{role} {'LOGIN' if may_log_in else 'NOLOGIN'}")
    for role, member in MEMBERS:
        _join(connection, f"{schema}_{role}", f"{schema}_{member}")
    if not me["rolsuper"]:
        _join(connection, f"{schema}_migrator", me["rolname"])
    _apply(connection, schema)


def _join(connection: Connection, role: str, member: str) -> None:
    if not connection.exec_driver_sql(f"SELECT pg_has_role('{member}', '{role}', 'USAGE')").scalar():
        _unless_there(connection, f'GRANT {role} TO "{member}"')


def _unless_there(connection: Connection, statement: str) -> None:
    # roles are the whole server's: an installation in another database may be making them
    connection.exec_driver_sql(
        f"DO $$ BEGIN {statement}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    )


def keep(connection: Connection, schema: str) -> None:
    """Where the schema has roles, bring everything in it to what sql/roles/ says; what is so already is not locked."""
    owner = connection.exec_driver_sql(rolequeries.SCHEMA.format(schema=schema)).scalar()
    if owner == f"{schema}_owner":
        _apply(connection, schema)


def _apply(connection: Connection, schema: str) -> None:
    statements = plan(connection, schema)
    if statements:
        connection.exec_driver_sql("DO $roles$ BEGIN\n" + ";\n".join(statements) + ";\nEND $roles$")


def plan(connection: Connection, schema: str) -> list[str]:
    """The statements that are missing."""

    def ask(query: str) -> list[Row]:
        return [dict(row) for row in connection.exec_driver_sql(query.format(schema=schema)).mappings()]

    return list(_Plan(schema, lists(), ask).statements())


class _Plan:
    """The difference between a schema and the lists, as statements."""

    def __init__(self, schema: str, told: Lists, ask: Callable[[str], list[Row]]) -> None:
        self._schema, self._told, self._ask = schema, told, ask
        self._owner, self._bound = self._role("owner"), self._role("bound")

    def _role(self, name: str) -> str:
        return f"{self._schema}_{name}"

    def statements(self) -> Iterator[str]:
        yield from self._database()
        yield from self._of_schema()
        for relation in self._ask(rolequeries.RELATIONS):
            name = relation["name"]
            rights = {(role, right) for verb, right in TABLE_RIGHTS.items() for role in self._told.may(verb, name)}
            kind = "SEQUENCE" if relation["kind"] == "S" else "TABLE"
            yield from self._is(relation, kind, self._owner, rights)
        for type_ in self._ask(rolequeries.TYPES):
            yield from self._is(type_, "TYPE", self._owner, set())
        functions = self._ask(rolequeries.FUNCTIONS)
        changes = [change for function in functions for change in self._function(function)]
        if any(change.endswith(f"OWNER TO {self._bound}") for change in changes):
            # who is given a function must be one who could make it
            create = f"CREATE ON SCHEMA {self._schema}"
            changes = [f"GRANT {create} TO {self._bound}", *changes, f"REVOKE {create} FROM {self._bound}"]
        yield from changes
        is_known = any(function["name"] == "acting_customer" for function in functions)
        for table in self._ask(rolequeries.TABLES):
            yield from self._rows(table, is_bound=is_known and table["name"] in self._told.rows)

    def _database(self) -> Iterator[str]:
        (database,) = self._ask(rolequeries.DATABASE)
        if database["is_mine"] and database["is_open"]:
            yield f"REVOKE TEMPORARY, CREATE ON DATABASE {database['object']} FROM PUBLIC"

    def _of_schema(self) -> Iterator[str]:
        (schema,) = self._ask(rolequeries.SCHEMA_GRANTS)
        users = {(role, "USAGE") for role in LOGINS if role not in {"owner", "migrator"}}
        yield from self._is(schema, "SCHEMA", self._owner, users)

    def _is(self, thing: Row, kind: str, owner: str, rights: set[tuple[str, str]]) -> Iterator[str]:
        """Whose it is, and what of it is granted to our roles and to PUBLIC; whom somebody else let in stays."""
        name = f"{kind} {thing['object']}"
        if thing["owner"] != owner:
            yield f"ALTER {name} OWNER TO {owner}"
        ours = {"PUBLIC", *map(self._role, LOGINS)} - {thing["owner"], owner}
        granted = [grant.rpartition("=") for grant in [*thing["grants"], *thing.get("columns", ())]]
        has = {(role, right) for role, _, right in granted if role in ours}
        wanted = {(self._role(role), right) for role, right in rights}
        gone = has - wanted
        for role, right in sorted(gone):
            yield f"REVOKE {right} ON {name} FROM {role}"
        # with a right to a table goes the same right to its columns
        has -= {(role, right) for role, right in has if (role, right.partition(" ")[0]) in gone}
        for role, right in sorted(wanted - has):
            yield f"GRANT {right} ON {name} TO {role}"

    def _function(self, function: Row) -> Iterator[str]:
        name = function["name"]
        is_bound = "bound" in self._told.may("OWN", name)
        callers = self._told.may("EXECUTE", name)
        is_definer = bool(callers | self._told.may("OWN", name)) or function["is_trigger"]
        if not callers and not function["is_trigger"]:
            callers = {"bound"}
        yield from self._is(
            function, "FUNCTION", self._bound if is_bound else self._owner, {(role, "EXECUTE") for role in callers}
        )
        if function["is_definer"] != is_definer:
            yield f"ALTER FUNCTION {function['object']} SECURITY {'DEFINER' if is_definer else 'INVOKER'}"

    def _rows(self, table: Row, *, is_bound: bool) -> Iterator[str]:
        name, wanted = table["object"], dict(self._policies(table["name"])) if is_bound else {}
        has = dict(zip(table["policies"], table["said"], strict=True))
        for policy in sorted(has.keys() & set(POLICIES)):
            if has[policy] != wanted.get(policy):
                yield f"DROP POLICY {policy} ON {name}"
        for policy, definition in wanted.items():
            if has.get(policy) != definition:
                yield f"CREATE POLICY {policy} ON {name} {definition}"
                # what it says, to be compared with: the server keeps it in words of its own
                yield f"COMMENT ON POLICY {policy} ON {name} IS {_literal(definition)}"
        # a table may have policies that are not ours
        is_on = is_bound or bool(has.keys() - set(POLICIES))
        if table["is_on"] != is_on:
            yield f"ALTER TABLE {name} {'ENABLE' if is_on else 'DISABLE'} ROW LEVEL SECURITY"
        if table["is_forced"] != is_bound:
            yield f"ALTER TABLE {name} {'FORCE' if is_bound else 'NO FORCE'} ROW LEVEL SECURITY"

    def _policies(self, table: str) -> Iterator[tuple[str, str]]:
        yield "whose_it_is", f"TO {self._bound} USING ((SELECT acts_for_everybody()) OR {self._told.rows[table]})"
        yield "everybodys", f"TO {self._owner} USING (true)"
        readers = ", ".join(self._role(role) for role in sorted(self._told.may("SELECT", table) - {"bound"}))
        if readers:
            yield "for_reading", f"FOR SELECT TO {readers} USING (true)"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
