"""Tools that a policy can call in the middle of a reply. The calculator is the only one."""

from __future__ import annotations

import ast
import re
from fractions import Fraction
from typing import Protocol, runtime_checkable

from amend.task.base import Task


@runtime_checkable
class Tool(Protocol):
    """What a policy may call on while it writes. What a tool writes is context, and never trained."""

    mark: str
    """The character that ends every call."""

    def answer(self, text: str) -> str | None:
        """What the tool writes after a reply that has got as far as ``text``; None where that ends in no call."""
        ...

    def pieces(self, text: str) -> list[tuple[str, bool]]:
        """A whole reply in pieces that join to it again, each with whether the tool wrote it."""
        ...


def tool_of(task: Task) -> Tool | None:
    """The tool that a task gives the policy; most tasks give none."""
    tool: Tool | None = getattr(task, "tool", None)
    return tool


LONGEST = 100  # characters of an expression: bounds the time, for no power can be written
PLACES = 6  # decimals; results that need more are rounded, as GSM8K's own marks are
MARK = re.compile(r"<<([^<>=\n]{0,200})=([^<>=\n]{0,200})>>")
_CALL = re.compile(r"<<([^<>=\n]{1,200})=\Z")
_PERCENT = re.compile(r"([0-9.]+)\s*%")
_LEADING_ZEROS = re.compile(r"(?<![0-9.])0+(?=[0-9])")
_NOTHING_ELSE = re.compile(r"[0-9.+\-*/() ]+")


def evaluate(expression: str) -> Fraction | None:
    """The exact value of an arithmetic expression; None where it is none. Total, and runs nothing.

    Thousands' commas, dollar signs and percent signs are understood: ``$1,000*5%`` is 50.
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
        return Fraction(str(node.value))  # 0.1 is a tenth, not the nearest binary number
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


def shown(value: Fraction) -> str:
    """A value as GSM8K writes it: ``24``, ``0.2``, and ``0.333333`` for a third."""
    rounded = round(value * 10**PLACES)
    whole, part = divmod(abs(rounded), 10**PLACES)
    decimals = f".{part:0{PLACES}d}".rstrip("0") if part else ""
    return f"{'-' if rounded < 0 else ''}{whole}{decimals}"


def without_marks(text: str) -> str:
    """The text as it reads without the calculator: ``48/2 = <<48/2=24>>24`` is ``48/2 = 24``."""
    return MARK.sub("", text)


class Calculator:
    """Completes calls; a tool (``amend.task.base.Tool``)."""

    mark = "="

    def answer(self, text: str) -> str | None:
        """``24>>`` where the text ends in ``<<48/2=``; None where it ends in no call that can be computed."""
        call = _CALL.search(text, max(0, len(text) - 2 * LONGEST - 3))
        value = evaluate(call.group(1)) if call else None
        return None if value is None else f"{shown(value)}>>"

    def pieces(self, text: str) -> list[tuple[str, bool]]:
        """A worked text in pieces that join to it again; True: the calculator's, from ``=`` to ``>>`` of each mark."""
        found, at = [], 0
        for mark in MARK.finditer(text):
            found += [(text[at : mark.start(2)], False), (text[mark.start(2) : mark.end()], True)]
            at = mark.end()
        return [(piece, tool) for piece, tool in (*found, (text[at:], False)) if piece]
