"""Which credential opens which operation, as the API description says, and the table of it in docs/security.md.

.venv/bin/python -m tests.api.matrix
"""

from typing import Any

from tests.contracts.support import Operation, api_description, operations

ANYONE = frozenset({"anyone"})
# in the order of the table
HOLDERS = ("anyone", "customer", "frontend", "cron secret", "cron", "admin", "signature")
NAMES = {"customer_token": "customer", "cron_secret": "cron secret"}


def opened_by(operation: Operation) -> frozenset[str]:
    """Who may call it, each by itself: scopes of a key, `customer`, `cron secret`, `signature`, or `anyone`."""
    requirements: list[dict[str, list[str]]] = operation.spec.get("security", [])
    return frozenset(holder for each in requirements for holder in _holders(each)) or ANYONE


def _holders(requirement: dict[str, list[str]]) -> list[str]:
    ((scheme, scopes),) = requirement.items()
    return scopes if scheme == "api_key" else [NAMES.get(scheme, "signature")]


def table(document: dict[str, Any]) -> str:
    """One row for each set of holders, with the operations that they and nobody else may call."""
    rows: dict[frozenset[str], list[str]] = {}
    for operation in operations(document):
        rows.setdefault(opened_by(operation), []).append(str(operation.spec["operationId"]))
    lines = ["| opened by | operations |", "| --- | --- |"]
    for holders in sorted(rows, key=lambda each: [HOLDERS.index(name) for name in _in_order(each)]):
        named = ", ".join(f"`{name}`" for name in sorted(rows[holders]))
        lines.append(f"| {', '.join(_in_order(holders))} | {named} |")
    return "\n".join(lines)


def _in_order(holders: frozenset[str]) -> list[str]:
    return sorted(holders, key=HOLDERS.index)


if __name__ == "__main__":
    print(table(api_description()))  # noqa: T201
