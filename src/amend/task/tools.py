"""Tools that a policy can call in the middle of a reply. The only one is the calculator of GSM8K.

The policy writes a call such as ``<<48/2=``. The engine stops at the character ``Tool.end_mark``, the tool writes the
result ``24>>``, and the policy continues. The loss mask excludes the tokens that a tool wrote.
"""

from __future__ import annotations

import ast
import re
from fractions import Fraction
from typing import Protocol, runtime_checkable


@runtime_checkable
class Tool(Protocol):
    """A tool that writes part of a reply. Its text is context for the policy and is excluded from the loss."""

    end_mark: str
    """The character that ends every call."""

    def answer(self, text: str) -> str | None:
        """Return the text that the tool appends to an unfinished reply.

        Args:
            text: The reply so far.

        Returns:
            The text to append; None if the reply does not end in a valid call.
        """
        ...

    def split_reply(self, text: str) -> list[tuple[str, bool]]:
        """Split a complete reply into the parts of the policy and the parts of the tool.

        Args:
            text: The reply.

        Returns:
            (part, whether the tool wrote it), in order. The parts concatenate to ``text``.
        """
        ...


LONGEST = 100  # characters of an expression; limits the time, because expressions have no powers
PLACES = 6  # decimal places; longer results are rounded, as in the annotations of GSM8K
MARK = re.compile(r"<<([^<>=\n]{0,200})=([^<>=\n]{0,200})>>")
_CALL = re.compile(r"<<([^<>=\n]{1,200})=\Z")
_PERCENT = re.compile(r"([0-9.]+)\s*%")
_LEADING_ZEROS = re.compile(r"(?<![0-9.])0+(?=[0-9])")
_NOTHING_ELSE = re.compile(r"[0-9.+\-*/() ]+")


def evaluate(expression: str) -> Fraction | None:
    """Evaluate an arithmetic expression exactly, without ``eval``.

    Thousands separators, dollar signs and percent signs are accepted: ``$1,000*5%`` is 50.

    Args:
        expression: Any string.

    Returns:
        The value; None if the string is not an expression, is longer than ``LONGEST``, or divides by zero.
    """
    if len(expression) > LONGEST:
        return None
    plain = _LEADING_ZEROS.sub("", _PERCENT.sub(r"(\1/100)", expression.replace(",", "").replace("$", "")))
    if not _NOTHING_ELSE.fullmatch(plain):
        return None
    try:
        return _value(ast.parse(plain.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return Fraction(str(node.value))  # exact: 0.1 is a tenth, not the nearest binary float
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        return _value(node.operand) * (-1 if isinstance(node.op, ast.USub) else 1)
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div):
            return left / right
    raise ValueError("not arithmetic")


def format_value(value: Fraction) -> str:
    """Format a value as in GSM8K: ``24``, ``0.2``, and ``0.333333`` for a third.

    Args:
        value: An exact number.

    Returns:
        A decimal number with at most ``PLACES`` decimal places and no trailing zeros.
    """
    rounded = round(value * 10**PLACES)
    integer, remainder = divmod(abs(rounded), 10**PLACES)
    decimals = f".{remainder:0{PLACES}d}".rstrip("0") if remainder else ""
    return f"{'-' if rounded < 0 else ''}{integer}{decimals}"


def strip_annotations(text: str) -> str:
    """Remove calculator annotations: ``48/2 = <<48/2=24>>24`` becomes ``48/2 = 24``."""
    return MARK.sub("", text)


class Calculator:
    """A ``Tool`` that completes calls such as ``<<48/2=``."""

    end_mark = "="

    def answer(self, text: str) -> str | None:
        """Return ``24>>`` for a text that ends in ``<<48/2=``; None if the text ends in no valid call."""
        call = _CALL.search(text, max(0, len(text) - 2 * LONGEST - 3))
        value = evaluate(call.group(1)) if call else None
        return None if value is None else f"{format_value(value)}>>"

    def split_reply(self, text: str) -> list[tuple[str, bool]]:
        """Split a text; the calculator wrote the part after ``=`` up to ``>>`` of each annotation."""
        parts, start = [], 0
        for mark in MARK.finditer(text):
            parts += [(text[start : mark.start(2)], False), (text[mark.start(2) : mark.end()], True)]
            start = mark.end()
        return [(part, tool) for part, tool in (*parts, (text[start:], False)) if part]
