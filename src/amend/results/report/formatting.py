"""Write numbers, times and texts in the same way in the terminal and in the report."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

MINUS = "\N{MINUS SIGN}"  # a hyphen before a number is hard to see in print
"""The metrics of the final table and their labels."""


def points(figure: Mapping[str, float] | None, signed: bool) -> str:
    """An interval in percentage points: ``47.3 [44.2, 50.4]``; signed for differences."""
    if figure is None:
        return ""
    form = "+.1f" if signed else ".1f"
    mean, low, high = (f"{100 * figure[key] + 0.0:{form}}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def printable(text: str) -> str:
    """``text`` with every control and format character, line ends apart, written as an escape."""
    return "".join(
        c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else c.encode("unicode_escape").decode()
        for c in text
    )


def reason(correct: bool, verdict_reason: str) -> str:
    """Return the reason of a verdict if it says more than right or wrong, else ""."""
    return "" if correct or verdict_reason in ("right", "wrong") else verdict_reason


def shortened(text: str, most: int = 1200) -> str:
    """A very long reply with its middle left out: the beginning and the answer at the end are what one reads."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}\n[... {len(text) - most} characters ...]\n{text[-(most // 2) :]}"


def clock(seconds: float) -> str:
    """Seconds as 0:07, 3:20 or 1:02:03."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
