"""Compare two mathematical answers with math-verify and sympy. This module runs inside a worker process."""

from __future__ import annotations

import re
from typing import Any

_REPEATING = re.compile(r"([0-9]*)\.([0-9]*)\\(?:overline|bar)\{([0-9]{1,20})\}")
_THOUSANDS = re.compile(r"(?<=[0-9])(?:,\\!|\{,\})(?=[0-9]{3})")  # 20,\!000, which math-verify would parse as 20 and 0
_PI_OVER = re.compile(r"\\frac\s*\\pi\s*([0-9])")  # \frac \pi4
_EQUALS = re.compile(r"(?<![\\<>!:])=")
_NAME = re.compile(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\([A-Za-z0-9, ]+\))?|\\(?:text|mathrm|mbox)\{[^{}]*\}")
_NUMERIC = re.compile(  # notation that a number may contain: units, commands without variables, and i and e
    r"\\(?:text|mathrm|mbox)\s*\{[^{}]*\}|\\(?:[dtc]?frac|sqrt|pi|cdot|times|circ|left|right|pm|q?quad)(?![A-Za-z])"
    r"|(?<![A-Za-z\\])[ie](?![A-Za-z])"
)
_MARKED = re.compile(r"\([^()]*\)|[_^]\{?[0-9]+\}?")  # digits that belong to a name: f(2), a_1, AB^2
# several solutions, as in x = -2 or x = 3, which math-verify handles itself
_SEVERAL = re.compile(r",|\\text\s*\{\s*(?:or|and)\s*\}|\b(?:or|and)\b")

_INTERVAL = re.compile(r"(?:\\left)?\s*[\[(].*,.*[\])]", re.DOTALL)
_OR = re.compile(r"\\text\s*\{\s*or\s*\}|\bor\b|\\lor\b|\\vee\b")
_ORDER = re.compile(r"\\(?:([lg])eq?(?:slant)?|([lg])t)(?![a-zA-Z])")
_SIGNS = re.compile(r"\s*([<>≤≥])\s*")
_MIRRORED = {">": "<", "≥": "≤"}
_LETTER = re.compile(r"[A-Za-z]|\\(?:alpha|beta|lambda|theta)")


def compare_answers(gold: str, answer: str) -> str:
    """Compare two answers with math-verify.

    Args:
        gold: The gold answer, LaTeX.
        answer: The answer of a reply, LaTeX.

    Returns:
        "right", "wrong" or "unparsed". If the answer makes several claims, all of them must be right.
    """
    from math_verify import verify

    target = parse(gold)
    if not target:
        return "unparsed"
    if _INTERVAL.fullmatch(gold.strip()):
        answer = to_intervals(answer)
    claims = [parse(side) for side in claimed_values(gold, answer)]
    if not all(claims):
        return "unparsed"
    equal = [verify(target, claim, timeout_seconds=None, raise_on_error=True) for claim in claims]
    return "right" if all(equal) else "wrong"


def to_intervals(answer: str) -> str:
    r"""Write inequalities as intervals: ``x > 2`` becomes ``(2,\infty)``, ``x < 1 or x > 2`` becomes a union.

    Args:
        answer: LaTeX or plain text.

    Returns:
        Intervals in LaTeX; the answer unchanged if it is not made of inequalities for one letter.
    """
    answer = answer.replace("<=", "≤").replace(">=", "≥")
    text = _ORDER.sub(lambda sign: {"l": "≤<", "g": "≥>"}[sign[1] or sign[2]][sign[1] is None], answer)
    parts = []
    for part in _OR.split(text):
        terms = _SIGNS.split(part.strip())
        if not {"<", "≤"} & set(terms):  # rewrite b > x >= a as a <= x < b
            terms = [_MIRRORED.get(term, term) for term in reversed(terms)]
        match terms:
            case [low, "<" | "≤" as above, x, "<" | "≤" as below, high] if _LETTER.fullmatch(x):
                pass
            case [x, "<" | "≤" as below, high] if _LETTER.fullmatch(x):
                low, above = "-\\infty", "<"
            case [low, "<" | "≤" as above, x] if _LETTER.fullmatch(x):
                below, high = "<", "\\infty"
            case _:
                return answer
        parts.append(f"{'[' if above == '≤' else '('}{low},{high}{']' if below == '≤' else ')'}")
    return " \\cup ".join(parts)


def claimed_values(gold: str, answer: str) -> list[str]:
    """Return the values that an answer claims: ``x = 5`` claims 5; ``4 = 5`` claims 4 and 5 and is therefore wrong.

    If the gold answer is a number, only sides that are numbers count: ``a+b = 5``, ``|AB| = 5`` and ``f(2) = 5`` claim
    5. The number 0 needs care, because many equations end in "= 0". ``2x+y = 0`` has a coefficient, so it is an
    equation, and both of its sides are claims. ``a+b = 0`` has no coefficient, so it claims 0.

    Args:
        gold: The gold answer.
        answer: The answer of a reply.

    Returns:
        The claims to compare with the gold answer. This is the whole answer if it has no "=", if the gold answer has
        one, or if the answer lists several values.
    """
    if _EQUALS.search(gold) or not _EQUALS.search(answer) or _SEVERAL.search(answer):
        return [answer]
    first, *rest = _EQUALS.split(answer)
    numbers = [side for side in (first, *rest) if not has_variable(side)]
    equation = any(re.search(r"[0-9]", _MARKED.sub("", side)) for side in (first, *rest) if has_variable(side))
    if not has_variable(gold) and numbers and not (equation and all(side.strip() == "0" for side in numbers)):
        return numbers
    return rest if _NAME.fullmatch(first.strip()) else [first, *rest]


def has_variable(side: str) -> bool:
    """Check whether a side is empty or contains a variable: a letter that is not part of a unit or of a number."""
    return not side.strip() or re.search(r"[A-Za-z]", _NUMERIC.sub("", side)) is not None


def parse(answer: str) -> list[Any]:
    """Parse one answer with math-verify.

    Only math-verify's LaTeX parser is used, because its parser for plain expressions passes text to ``eval``.

    Args:
        answer: LaTeX.

    Returns:
        The sympy objects that math-verify found; empty if it found none.
    """
    from math_verify import LatexExtractionConfig
    from math_verify import parse as read

    text = _THOUSANDS.sub("", answer.strip().rstrip("."))
    text = re.sub(r"\\?%|\\!", "", text).strip()
    text = _REPEATING.sub(_fraction, _PI_OVER.sub(r"\\frac{\\pi}{\1}", text))
    expressions: list[Any] = read(
        f"\\boxed{{{text}}}",
        extraction_config=[LatexExtractionConfig(boxed_match_priority=0)],
        fallback_mode="no_fallback",
        parsing_timeout=None,
        raise_on_error=True,
    )
    return expressions


def _fraction(match: re.Match[str]) -> str:
    r"""Write a repeating decimal such as ``0.1\overline{6}`` as a fraction."""
    integer, fixed, repeating = match.groups()
    numerator = int(integer + fixed + repeating or "0") - int(integer + fixed or "0")
    return f"\\frac{{{numerator}}}{{{'9' * len(repeating)}{'0' * len(fixed)}}}"
