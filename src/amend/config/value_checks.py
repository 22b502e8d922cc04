"""Check one value against the type that a key allows, and describe types and values for error messages."""

from __future__ import annotations

import difflib
import json
import typing
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any, Literal

from omegaconf import DictConfig, ListConfig, OmegaConf

from amend.value_types import Range


def keys(kind: Any) -> dict[str, Any]:
    """Return the keys of a TypedDict with the annotation of each."""
    return typing.get_type_hints(kind, include_extras=True)


def format_value(value: Any) -> str:
    """Return a value as it is typed on the command line, truncated to 60 characters."""
    if isinstance(value, DictConfig | ListConfig):
        value = OmegaConf.to_container(value)
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def find_value_error(kind: Any, value: Any) -> str | None:
    """Return what is wrong with a value, or None if it is valid.

    Args:
        kind: The annotation of the key.
        value: The value, as a plain Python value.
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        reason = find_value_error(parts[0], value)
        is_outside = not reason and any(isinstance(rule, Range) and not rule.holds(value) for rule in parts[1:])
        return "out of range" if is_outside else reason
    if origin in (typing.Union, UnionType):
        return (
            None if any(find_value_error(part, value) is None for part in parts) else find_value_error(parts[0], value)
        )
    if origin is Literal:
        return None if any(value == part and type(value) is type(part) for part in parts) else "not an allowed value"
    if origin is list:
        if not isinstance(value, list):
            return "not a list"
        return next((reason for item in value if (reason := find_value_error(parts[0], item))), None)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float:
        return None if is_number and abs(value) < float("inf") else "not a number"
    if kind is int:
        return None if is_number and isinstance(value, int) else "not a whole number"
    if typing.is_typeddict(kind):
        return None if isinstance(value, dict) else "not a mapping"
    if kind in (bool, str, NoneType):
        return None if isinstance(value, kind) else f"not {describe_allowed(kind)}"
    raise TypeError(f"values of type {kind} cannot be checked")


def describe_allowed(kind: Any) -> str:
    """Describe the allowed values of a type in words."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return " ".join((describe_allowed(parts[0]), *(str(rule) for rule in parts[1:])))
    if origin in (typing.Union, UnionType):
        return " or ".join(describe_allowed(part) for part in parts)
    if origin is Literal:
        return " or ".join(", ".join(map(str, parts)).rsplit(", ", 1))
    if origin is list:
        return f"a list, each {describe_allowed(parts[0])}"
    if typing.is_typeddict(kind):
        return f"a mapping of {', '.join(keys(kind))}"
    return {float: "a number", int: "a whole number", bool: "true or false", str: "text", NoneType: "null"}[kind]


def literal_values(kind: Any) -> list[str]:
    """Return the values of a Literal; an empty list for other types."""
    return list(map(str, typing.get_args(kind))) if typing.get_origin(kind) is Literal else []


def did_you_mean(said: str, known: Iterable[str], prefix: str = "") -> str:
    """Return the text before ``allowed:``, with ``did you mean x?`` if a known word is similar to ``said``."""
    close = difflib.get_close_matches(said, list(known), n=1)
    return f"; did you mean {prefix}{close[0]}? " if close else "; "
