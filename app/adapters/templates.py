"""Text of requests in which `{target.date}` stands for a value: names and nothing else, so that no code can run.

A name is looked up as it is written, in one flat mapping of names to JSON values. There is no escape for a brace.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote

from app.adapters.adapter import Credentials, Order

Values = Mapping[str, Any]
# what an order has to say
ORDER_NAMES = frozenset(
    {"target.*", "customer.ref", "customer.name", "customer.email", "customer.phone", "idempotency_key"}
)

_PLACE = re.compile(r"\{([^{}]*)\}")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_PRINTABLE = re.compile(r"([!-~]([ -~]*[!-~])?)?")


class Unfit(ValueError):  # noqa: N818 - it says what is wrong with a value
    """A value is absent, or cannot stand where it should. Says which one, and never what it is."""


def values_of(order: Order) -> Values:
    """What an order says, by its names in templates."""
    return {
        **{f"target.{name}": value for name, value in order.target.items()},
        **{f"customer.{name}": value for name, value in order.customer.items()},
        "idempotency_key": order.idempotency_key,
    }


def secrets_of(credentials: Credentials) -> Values:
    """What credentials say, by its names in templates."""
    return {f"credentials.{name}": value for name, value in credentials.fields.items()}


def check_names(template: object, known: Collection[str]) -> None:
    """Refuse a template, of text or of JSON, that uses a name which is not known; `target.*` knows all of `target`.

    Raises ValueError.
    """
    for text in _texts(template):
        for name in _PLACE.findall(text):
            root, _, field = name.partition(".")
            if name not in known and not (f"{root}.*" in known and _FIELD.fullmatch(field)):
                msg = f"{{{name}}} is not known here; known are {', '.join(sorted(known)) or 'no names'}"
                raise ValueError(msg)
        if re.search(r"[{}]", _PLACE.sub("", text)):
            msg = "a brace opens or closes a name, as in {target.date}"
            raise ValueError(msg)


def fill_text(template: str, values: Values) -> str:
    """The text with its values. Raises Unfit."""
    return _PLACE.sub(lambda place: _text(place[1], values), template)


def fill_path(template: str, values: Values) -> str:
    """The path with each value percent-encoded whole. Raises Unfit."""
    return _PLACE.sub(lambda place: _segment(place[1], values), template)


def fill_header(template: str, values: Values) -> str:
    """The header's value. Raises Unfit for what would be more than one header, or not ASCII."""
    text = fill_text(template, values)
    if not _PRINTABLE.fullmatch(text):
        names = ", ".join(_PLACE.findall(template))
        msg = f"{names} cannot be sent in a header"
        raise Unfit(msg)
    return text


def fill_json(template: object, values: Values) -> object:
    """The JSON with its strings filled in. A string that is one name becomes the value itself. Raises Unfit."""
    if isinstance(template, dict):
        return {key: fill_json(member, values) for key, member in template.items()}
    if isinstance(template, list):
        return [fill_json(member, values) for member in template]
    if not isinstance(template, str):
        return template
    if whole := _PLACE.fullmatch(template):
        return _value(whole[1], values)
    return fill_text(template, values)


def _texts(template: object) -> list[str]:
    if isinstance(template, str):
        return [template]
    parts = template.values() if isinstance(template, dict) else template if isinstance(template, list) else ()
    return [text for part in parts for text in _texts(part)]


def _value(name: str, values: Values) -> object:
    if name not in values:
        msg = f"there is no {name}"
        raise Unfit(msg)
    return values[name]


def _text(name: str, values: Values) -> str:
    value = _value(name, values)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        msg = f"{name} is no text and no number"
        raise Unfit(msg)
    return str(value)


def _segment(name: str, values: Values) -> str:
    text = _text(name, values)
    # these would name another path than the admin's
    if text in {"", ".", ".."}:
        msg = f"{name} cannot stand in a path"
        raise Unfit(msg)
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        msg = f"{name} is not text that can be encoded"
        raise Unfit(msg) from None
