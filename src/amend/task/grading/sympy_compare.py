"""Compare two mathematical answers with math-verify and sympy. This module runs inside a worker process."""

from __future__ import annotations

import re
from typing import Any

# In the worker --------------------------------------------------------------------------------------------------------

_REPEATING = re.compile(r"([0-9]*)\.([0-9]*)\\(?:overline|bar)\{([0-9]{1,20})\}")
_THOUSANDS = re.compile(r"(?<=[0-9])(?:,\\!|\{,\})(?=[0-9]{3})")  # 20,\!000: math-verify reads 20 and 0
_PI_OVER = re.compile(r"\\frac\s*\\pi\s*([0-9])")  # \frac \pi4
_EQUALS = re.compile(r"(?<![\\<>!:])=")
_NAME = re.compile(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\([A-Za-z0-9, ]+\))?|\\(?:text|mathrm|mbox)\{[^{}]*\}")
_NUMERIC = re.compile(  # what a number may be written with: units, and commands that name nothing
    r"\\(?:text|mathrm|mbox)\s*\{[^{}]*\}|\\(?:[dtc]?frac|sqrt|pi|cdot|times|circ|left|right|pm|q?quad)(?![A-Za-z])"
    r"|(?<![A-Za-z\\])[ie](?![A-Za-z])"
)
_MARKED = re.compile(r"\([^()]*\)|[_^]\{?[0-9]+\}?")  # digits of a name: f(2), a_1, AB^2
_SEVERAL = re.compile(r",|\\text\s*\{\s*(?:or|and)\s*\}|\b(?:or|and)\b")  # x = -2 or x = 3: math-verify knows them

_INTERVAL = re.compile(r"(?:\\left)?\s*[\[(].*,.*[\])]", re.DOTALL)
_OR = re.compile(r"\\text\s*\{\s*or\s*\}|\bor\b|\\lor\b|\\vee\b")
_ORDER = re.compile(r"\\(?:([lg])eq?(?:slant)?|([lg])t)(?![a-zA-Z])")
_SIGNS = re.compile(r"\s*([<>≤≥])\s*")
_MIRRORED = {">": "<", "≥": "≤"}
_LETTER = re.compile(r"[A-Za-z]|\\(?:alpha|beta|lambda|theta)")


def compare_answers(gold: str, answer: str) -> str:
    from math_verify import verify

    wanted = parse(gold)
    if not wanted:
        return "unparsed"
    if _INTERVAL.fullmatch(gold.strip()):
        answer = intervals(answer)
    said = [parse(side) for side in sides(gold, answer)]
    if not all(said):
        return "unparsed"
    same = [verify(wanted, one, timeout_seconds=None, raise_on_error=True) for one in said]
    return "right" if all(same) else "wrong"


def intervals(answer: str) -> str:
    """``x > 2`` as the interval it means, ``(2,\\infty)``; ``x < 1`` or ``x > 2`` as a union. What is neither stays."""
    answer = answer.replace("<=", "≤").replace(">=", "≥")
    text = _ORDER.sub(lambda sign: {"l": "≤<", "g": "≥>"}[sign[1] or sign[2]][sign[1] is None], answer)
    found = []
    for part in _OR.split(text):
        terms = _SIGNS.split(part.strip())
        if not {"<", "≤"} & set(terms):  # b > x >= a is a <= x < b
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
        found.append(f"{'[' if above == '≤' else '('}{low},{high}{']' if below == '≤' else ')'}")
    return " \\cup ".join(found)


def sides(gold: str, answer: str) -> list[str]:
    """What an answer claims the gold value to be: ``x = 5`` claims 5; ``4 = 5`` claims both, so hedges are wrong.

    Of a gold number only sides that are numbers speak: ``a+b = 5``, ``|AB| = 5`` and ``f(2) = 5`` claim 5. Not so of 0,
    at which equations end: ``2x+y = 0`` is one, for it counts something, and ``a+b = 0`` is none.
    """
    if _EQUALS.search(gold) or not _EQUALS.search(answer) or _SEVERAL.search(answer):
        return [answer]
    first, *rest = _EQUALS.split(answer)
    numbers = [side for side in (first, *rest) if not named(side)]
    equation = any(re.search(r"[0-9]", _MARKED.sub("", side)) for side in (first, *rest) if named(side))
    if not named(gold) and numbers and not (equation and all(side.strip() == "0" for side in numbers)):
        return numbers
    return rest if _NAME.fullmatch(first.strip()) else [first, *rest]


def named(side: str) -> bool:
    """Whether a letter stands in it, beside units and the commands that numbers are written with; or nothing does."""
    return not side.strip() or re.search(r"[A-Za-z]", _NUMERIC.sub("", side)) is not None


def parse(answer: str) -> list[Any]:
    """The mathematics of one answer, as sympy objects; empty where there is none.

    LaTeX only: math-verify's other reader hands text to ``eval``.
    """
    from math_verify import LatexExtractionConfig
    from math_verify import parse as read

    text = _THOUSANDS.sub("", answer.strip().rstrip("."))
    text = re.sub(r"\\?%|\\!", "", text).strip()
    text = _REPEATING.sub(_fraction, _PI_OVER.sub(r"\\frac{\\pi}{\1}", text))
    found: list[Any] = read(
        f"\\boxed{{{text}}}",
        extraction_config=[LatexExtractionConfig(boxed_match_priority=0)],
        fallback_mode="no_fallback",
        parsing_timeout=None,
        raise_on_error=True,
    )
    return found


def _fraction(match: re.Match[str]) -> str:
    """``0.1\\overline{6}`` as the fraction it is."""
    whole, fixed, again = match.groups()
    top = int(whole + fixed + again or "0") - int(whole + fixed or "0")
    return f"\\frac{{{top}}}{{{'9' * len(again)}{'0' * len(fixed)}}}"
