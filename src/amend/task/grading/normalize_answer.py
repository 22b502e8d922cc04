"""Normalize a mathematical answer: remove styling, units and spacing that do not change its value.

``strip_styling`` removes styling and keeps valid LaTeX for sympy. ``split_unit`` also removes spacing and separates the
unit. The result of ``split_unit`` is compared as a string or, through ``parse_number``, as an exact number.
"""

from __future__ import annotations

import re
from fractions import Fraction

from amend.task.grading.extract_answer import LONGEST_ANSWER

_INVISIBLE = re.compile(r"(?<!\\)\\[!,;: ]|(?<!\\)\\(?:left|right|displaystyle|large|q?quad)(?![a-zA-Z])|[~$€£\s]|\\\$")
_DECORATION = re.compile(r"\\(?:underline|uline|bm|boldsymbol)(?=\s*\{)|\\(?:text)?color\s*\{[^{}]*\}")
_ORDINAL = re.compile(  # 14^{\text{th}}, 2^{nd}, 3^\mathrm{rd}, 1^st
    r"([0-9]+)\^(?:\{\s*(?:\\(?:text|textrm|mathrm|mbox)\s*\{\s*(st|nd|rd|th)\s*\}|(st|nd|rd|th))\s*\}"
    r"|\\(?:text|textrm|mathrm|mbox)\s*\{\s*(st|nd|rd|th)\s*\}|(st|nd|rd|th)(?![a-zA-Z]))"
)
_DEGREES = re.compile(r"\^\{?\\circ\}?|°")
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_UNIT = re.compile(r"(.*\S)\s*\\(?:text|textrm|mathrm|mbox)\s*\{([^{}]*)\}(?:\^\{?[0-9]\}?)?", re.DOTALL)
_WORDS = re.compile(  # a number with a unit in words: 18 dollars, 60 km per hour, 7 (eggs)
    r"([+-]?[$€£]?[0-9][0-9,]*(?:\.[0-9]+)?|[+-]?[0-9]+/[0-9]+)\s+\(?([A-Za-z]{2,}(?:[ ./-]+[A-Za-z]+)*)\)?\.?"
)
_NOT_UNITS = re.compile(  # words after a number that are not a unit
    r"\b(?:or|and|not|to|pi|mod|hundreds?|thousands?|millions?|billions?|trillions?|dozens?|squared|cubed|plus|minus)\b"
)
_MIXED = re.compile(r"([+-]?)([0-9]+)(?:\s+([0-9]+)\s*/\s*([0-9]+)|\s*\\[dtc]?frac\s*\{([0-9]+)\}\s*\{([0-9]+)\})")
_SPACED = re.compile(r"[+-]?[0-9]{1,3}(?:\s[0-9]{3})+(?:\.[0-9]+)?")  # 20 000
_APART = re.compile(r"(?<=[0-9])\s+(?=[0-9])")
_ZEROS = re.compile(r"(?<![0-9.,])0+(?=[0-9])")
_GROUPED = r"[0-9]{1,3}(?:,[0-9]{3})+"
_DECIMAL = re.compile(rf"([+-]?)((?:{_GROUPED}|[0-9]+)?(?:\.[0-9]+)?)")
_RATIO = re.compile(r"([+-]?)(?:\\frac\{(-?[0-9]+)\}\{(-?[0-9]+)\}|([0-9]+)/([0-9]+))")


def strip_styling(answer: str) -> str:
    r"""Return an answer without styling: underline, colour, bold, outer braces; ``14^{\text{th}}`` becomes 14.

    Args:
        answer: LaTeX. An answer longer than ``LONGEST_ANSWER`` is returned unchanged.

    Returns:
        LaTeX of the same value.
    """
    if len(answer) > LONGEST_ANSWER:
        return answer
    text = (
        _ORDINAL.sub(_strip_ordinal_suffix, _DECORATION.sub("", answer)).replace("\\varnothing", "\\emptyset").strip()
    )
    while _is_braced(text):
        text = text[1:-1].strip()
    return text


def _strip_ordinal_suffix(match: re.Match[str]) -> str:
    """Return the number of an ordinal. If the suffix does not fit the number, return the match unchanged."""
    digits, *suffixes = match.groups()
    teen = digits[-2:] in ("11", "12", "13")
    ending = "th" if teen else {"1": "st", "2": "nd", "3": "rd"}.get(digits[-1], "th")
    return digits if ending in suffixes else match.group()


def _is_braced(text: str) -> bool:
    """Check whether one pair of braces encloses the whole text."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return character == "}" and place == len(text) - 1
    return False


def split_unit(answer: str) -> tuple[str, str]:
    r"""Split an answer into a normalized value and a unit: ``7\text{ hours}.`` gives ("7", "hours").

    Args:
        answer: LaTeX or plain text.

    Returns:
        The value without spacing, and the unit in lower case; the unit is "%" for percentages and "" if there is none.
    """
    text = answer.strip().rstrip(".,;").strip().removeprefix("\\approx").strip()
    unit = ""
    if (match := _UNIT.fullmatch(text) or _WORDS.fullmatch(text)) and not _NOT_UNITS.search(match.group(2).lower()):
        text, unit = match.group(1), match.group(2).strip().lower()
        unit = "%" if unit in ("percent", "per cent") else unit
    if match := _MIXED.fullmatch(text):
        sign, integer, *fraction = (part for part in match.groups() if part is not None)
        top, bottom = int(fraction[0]), int(fraction[1])
        text = f"{sign}\\frac{{{int(integer) * bottom + top}}}{{{bottom}}}"
    if _TEXT.fullmatch(text):  # the answer is a word: \text{Evelyn}
        text = _TEXT.sub(r"\1", text)
    if not _SPACED.fullmatch(text):
        text = _APART.sub("|", text)  # keep 1 2 different from 12
    text = _DEGREES.sub("", text).replace("{,}", ",")
    text = re.sub(r"\\[dtc]frac", r"\\frac", text)
    text = _INVISIBLE.sub("", text)
    if text.endswith("%"):
        text, unit = text.removesuffix("%").removesuffix("\\"), unit or "%"
    return _ZEROS.sub("", text).rstrip("."), unit


def parse_number(text: str) -> Fraction | None:
    """Return the exact value of an integer, decimal or fraction.

    Args:
        text: A value that ``split_unit`` returned.

    Returns:
        The value; None if the text is not a number of these kinds.
    """
    if match := _DECIMAL.fullmatch(text):
        sign, digits = match.group(1), match.group(2).replace(",", "")
        return Fraction(sign + digits) if digits else None
    if match := _RATIO.fullmatch(text):
        top, bottom = (int(digits) for digits in match.groups()[1:] if digits is not None)
        if bottom:
            return Fraction(-top if match.group(1) == "-" else top, bottom)
    return None
