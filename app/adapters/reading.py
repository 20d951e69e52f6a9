"""What a provider's answer means, by the rules of its description, and what may be repeated of it."""

import json
import re
import time
from collections.abc import Iterable, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from app.adapters.adapter import Answer, Finding
from app.adapters.description import BookingRule, LoginRule, LookupRule, Rule
from app.adapters.wire import Response

MAX_DETAIL = 200
MAX_CONFIRMATION = 200
# Characters. Nobody says that many by chance.
UNLIKELY = 8
# A day: who asks for more has something else in mind.
MAX_RETRY_AFTER = 86400.0
# Said only by an answer that is understood: a page of some proxy's says nothing of this kind, whatever its status.
CERTAIN = {"booked", "absent", "valid"}

Rules = Sequence[LoginRule | BookingRule | LookupRule]
_ABSENT = object()


def document_of(response: Response) -> object:
    """The body as JSON, None if it is empty. Raises ValueError if it is anything else, or was cut off."""
    if not response.is_whole:
        msg = "the answer is too long"
        raise ValueError(msg)
    try:
        return json.loads(response.body) if response.body else None
    except RecursionError:
        msg = "the answer is nested too deeply"
        raise ValueError(msg) from None


def value_at(document: object, path: str) -> Any:  # noqa: ANN401 - JSON
    """The value at a dotted path; None if there is none."""
    found = _at(document, path)
    return None if found is _ABSENT else found


def text_at(document: object, path: str | None) -> str | None:
    """The text, or the number as text, at a dotted path; None if there is none."""
    value = value_at(document, path) if path else None
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def finding_of(response: Response, rules: Rules, url: str, fallback: Finding) -> tuple[Finding, str]:
    """The finding of the first rule that fits, or of what HTTP itself says, else the fallback; and why, for people."""
    try:
        document, is_understood, why = document_of(response), True, ""
    except ValueError:
        document, is_understood, why = None, False, "not the JSON that was expected"
    for rule in rules:
        if _fits(rule, response.status, document) and (is_understood or rule.finding not in CERTAIN):
            return rule.finding, ""
    if _is_elsewhere(response, url):
        return "refused", "a redirect to another host, which was not followed"
    if response.status == HTTPStatus.TOO_MANY_REQUESTS or (
        response.status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after_of(response) is not None
    ):
        return "rate_limited", ""
    return fallback, why or "no rule fits"


def retry_after_of(response: Response) -> float | None:
    """Seconds to wait by `Retry-After`, in either of its forms; a date counts from the answer's own `Date`."""
    text = (response.header("retry-after") or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), MAX_RETRY_AFTER)
    until = http_date(text)
    if until is None:
        return None
    now = http_date(response.header("date") or "")
    return min(max(until - (time.time() if now is None else now), 0.0), MAX_RETRY_AFTER)


def http_date(text: str) -> float | None:
    """An HTTP date as seconds since 1970; None if it is none."""
    try:
        moment = parsedate_to_datetime(text)
        # an HTTP date is in GMT, whether it says so or not
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def answer_of(
    finding: Finding,
    detail: str,
    secrets: Iterable[str],
    *,
    confirmation: str | None = None,
    retry_after: float | None = None,
) -> Answer:
    """The answer, with nothing in its words that is secret, unprintable or long."""
    hidden = [form for secret in secrets for form in (secret, quote(secret, safe="", errors="replace"))]
    # a short one, such as a member's number, may stand in it by chance
    long = [secret for secret in hidden if len(secret) >= UNLIKELY]
    return Answer(
        finding,
        _tidy(confirmation, long)[:MAX_CONFIRMATION] if confirmation and finding == "booked" else None,
        retry_after if finding in {"rate_limited", "unavailable", "not_open_yet"} else None,
        _tidy(detail, hidden)[:MAX_DETAIL],
    )


def _tidy(text: str, secrets: Iterable[str]) -> str:
    # the longest first: one may be part of another
    for secret in sorted(set(secrets), key=len, reverse=True):
        text = text.replace(secret, "***") if secret else text
    return "".join(character if character.isprintable() else "?" for character in text)


def _fits(rule: Rule, status: int, document: object) -> bool:
    if rule.status is not None and rule.status != status:
        return False
    if rule.path is None:
        return True
    found = _at(document, rule.path)
    if "equals" not in rule.model_fields_set:
        return found is not _ABSENT and found is not None
    # to Python, true is 1
    return isinstance(found, bool) == isinstance(rule.equals, bool) and found == rule.equals


def _at(document: object, path: str) -> object:
    for name in path.split("."):
        if isinstance(document, dict) and name in document:
            document = document[name]
        elif isinstance(document, list) and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        else:
            return _ABSENT
    return document


def _is_elsewhere(response: Response, url: str) -> bool:
    location = response.header("location")
    if response.status // 100 != 3 or location is None:  # noqa: PLR2004
        return False
    try:
        return _origin(urljoin(url, location)) != _origin(url)
    except ValueError:
        return True


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
