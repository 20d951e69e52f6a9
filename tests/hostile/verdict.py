"""Whether an answer is one that the API promised: declared, of that form, and silent about how it came to be."""

import re
from typing import Any

import httpx2
import jsonschema_rs

from tests.contracts.support import Operation

PROBLEM_JSON = "application/problem+json"
PROBLEM_MEMBERS = {"type", "title", "status", "detail", "code", "retryable", "request_id"}
# what only the inside knows: stack traces, files, drivers, statements, names of our functions and constraints
INSIDES = re.compile(
    r"Traceback|\bline \d+, in|\.py\b|site-packages|asyncpg|psycopg|pydantic|plpgsql|pg_catalog|SQLSTATE"
    r"|\b(SELECT|INSERT|UPDATE|DELETE)\b.*\b(FROM|INTO|SET)\b|\bp_[a-z]+\b|_check\b|_fkey\b|relation \""
    r"|/home/|/tmp/|/usr/"
)


class Judge:
    """Finds fault with answers, by the description they have to keep to."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._components = {"components": {"schemas": document["components"]["schemas"]}}
        self._validators: dict[int, Any] = {}

    def faults(self, operation: Operation, answer: httpx2.Response) -> list[str]:
        """Every promise that the answer breaks; none is as it should be."""
        status = str(answer.status_code)
        found = [] if answer.status_code != 500 else ["an internal error"]
        if answer.headers["content-type"].startswith(PROBLEM_JSON) if answer.status_code >= 400 else False:
            found += self._problem_faults(answer)
        elif answer.status_code >= 400:
            found.append(f"{status} that is no problem")
        response = operation.spec["responses"].get(status)
        if response is None:
            # a hostile path may be nobody's, or another's
            if not (answer.status_code in {404, 405} and "{" in operation.path):
                found.append(f"{status} is not declared")
        elif answer.content:
            found += self._schema_faults(response, answer)
        return found

    def _problem_faults(self, answer: httpx2.Response) -> list[str]:
        problem = answer.json()
        found = [f"lacks {name}" for name in sorted(PROBLEM_MEMBERS - problem.keys())]
        if problem.get("request_id") != answer.headers["x-request-id"]:
            found.append("names another request")
        if seen := INSIDES.search(answer.text):
            found.append(f"tells of the inside: {seen[0]!r}")
        return found

    def _schema_faults(self, response: dict[str, Any], answer: httpx2.Response) -> list[str]:
        media_type = answer.headers["content-type"].partition(";")[0]
        content = response.get("content", {})
        if media_type not in content:
            return [f"{media_type} is not declared"]
        if not media_type.endswith("json"):
            return []
        schema = content[media_type].get("schema", {})
        if id(schema) not in self._validators:
            rooted = schema | self._components
            self._validators[id(schema)] = jsonschema_rs.validator_for(rooted, validate_formats=True)
        errors = self._validators[id(schema)].iter_errors(answer.json())
        return [f"not as declared: {error.message}"[:200] for error in errors][:3]
