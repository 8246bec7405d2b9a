"""What pydantic found wrong in what was sent, said to people: one fault a field, at its path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from typing_extensions import TypedDict

MAX_FAULTS = 50
MAX_PATH = 128
"""Characters: the names of fields that we do not have are the sender's own."""

_PLAIN = {
    "missing": "is required",
    "extra_forbidden": "there is no such field",
    "model_type": "should be an object",
    "model_attributes_type": "should be an object",
    "dict_type": "should be an object",
    "list_type": "should be a list",
    "string_type": "should be text",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
}
_UNSEEN: Any = object()
_PREFIX = re.compile(r"Value error, |Assertion failed, |\w+ (?=should )")


class Fault(TypedDict):
    field: str
    message: str


def describe(error: ValidationError, sent: Any = _UNSEEN) -> str:
    """Which fields, and why, in one line; never the values. Knowing what was `sent`, their paths
    are free of the names of types.
    """

    def path_of(fault: Mapping[str, Any]) -> str:
        if sent is _UNSEEN:
            return ".".join(map(str, fault["loc"])) or "body"
        return path_in(sent, fault)

    return said(collect(error.errors(), path_of), 300)


def said(faults: Iterable[Fault], most: int) -> str:
    """Faults as one line of at most `most` characters."""
    return "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)[:most]


def collect(
    errors: Iterable[Mapping[str, Any]], path_of: Callable[[Mapping[str, Any]], str]
) -> list[Fault]:
    """The fields that are missing or wrong, each once, `MAX_FAULTS` at most."""
    found: dict[str, list[str]] = {}
    for fault in errors:
        messages = found.setdefault(path_of(fault)[:MAX_PATH], [])
        message = _message(fault)
        if message not in messages:
            messages.append(message)
        if len(found) > MAX_FAULTS:
            break
    shown = list(found.items())[:MAX_FAULTS]
    return [{"field": field, "message": _either(messages)} for field, messages in shown]


def path_in(sent: Any, fault: Mapping[str, Any], steps: Sequence[int | str] | None = None) -> str:
    """The place of a fault in what was sent, without pydantic's names for types on the way.

    It writes down which member of a union it tried, as if that were a field. `steps` lead there,
    where those in the fault begin somewhere else.
    """
    steps = fault["loc"] if steps is None else steps
    path: list[str] = []
    value = sent
    for step in steps:
        if _holds(value, step):
            value = value[step]
            path.append(str(step))
    if fault["type"] == "missing" and steps:
        path.append(str(steps[-1]))
    return ".".join(path) or "body"


def _holds(value: Any, step: int | str) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, Mapping) and step in value


def _message(fault: Mapping[str, Any]) -> str:
    plain = _PLAIN.get(fault["type"])
    return plain if plain is not None else _PREFIX.sub("", fault["msg"], count=1)


def _either(messages: Sequence[str]) -> str:
    """A value that fits no member of a union could be any of them."""
    first, *others = messages
    return " or ".join([first, *(other.removeprefix("should be ") for other in others)])
