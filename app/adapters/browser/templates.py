"""Texts with places for an order's values, `{target.date}`: looked up by name, never run."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from app.adapters.adapter import Credentials, Order

_PLACE = re.compile(r"\{([a-z]+\.[A-Za-z0-9_-]+)\}")


class MissingValueError(Exception):
    """A value that a template wants is not there. Says which, never any value."""


def check_template(template: str, *groups: str) -> str:
    """The template, if its places name values of these groups. Raises ValueError in an admin's words otherwise."""
    if strays := [name for name in _PLACE.findall(template) if name.partition(".")[0] not in groups]:
        known = " and ".join(f"{{{group}.…}}" for group in groups) or "nothing"
        msg = f"{{{strays[0]}}} is not known here, only {known}"
        raise ValueError(msg)
    if set("{}") & set(_PLACE.sub("", template)):
        msg = "a brace is part of a place such as {target.date}"
        raise ValueError(msg)
    return template


def fill_text(template: str, values: Mapping[str, str]) -> str:
    """The text with its values. Raises MissingValueError."""
    return _PLACE.sub(lambda place: _value(values, place[1]), template)


def fill_path(template: str, values: Mapping[str, str]) -> str:
    """The path with its values percent-encoded, so that none of them leads elsewhere. Raises as `fill_text`."""
    return _PLACE.sub(lambda place: _segment(_value(values, place[1]), place[1]), template)


def values_of(order: Order | None = None, credentials: Credentials | None = None) -> dict[str, str]:
    """What may stand in a template, by its name there: texts and numbers, nothing nested."""
    groups: dict[str, Mapping[str, Any]] = {
        "target": order.target if order else {},
        "customer": order.customer if order else {},
        "credentials": credentials.fields if credentials else {},
    }
    return {
        f"{group}.{name}": str(value)
        for group, values in groups.items()
        for name, value in values.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    }


def _value(values: Mapping[str, str], name: str) -> str:
    if name not in values:
        msg = f"there is no {name}"
        raise MissingValueError(msg)
    return values[name]


def _segment(value: str, name: str) -> str:
    # a browser takes these for steps between folders, encoded or not
    if value in {".", ".."}:
        msg = f"{name} cannot be part of an address"
        raise MissingValueError(msg)
    return quote(value, safe="")
