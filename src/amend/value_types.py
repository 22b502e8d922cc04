"""Number types with a range, for the annotations of constructors.

The configuration is checked against these annotations before any large library is imported, so this module imports only
``typing``. A constructor declares ``alpha: NonNegative``; ``algo.shaping_coef=-1`` then ends with one line that states
the allowed values.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple


class Range(NamedTuple):
    """The finite numbers from ``low`` to ``high``.

    Attributes:
        low: The lower bound.
        high: The upper bound, included; None: no bound.
        above: Whether the lower bound is excluded.
    """

    low: float
    high: float | None = None
    above: bool = False

    def holds(self, value: float) -> bool:
        """Return whether the value is in the range. NaN and infinity are in no range."""
        is_above = value > self.low if self.above else value >= self.low
        return is_above and value <= (self.high if self.high is not None else 1.7e308)

    def __str__(self) -> str:
        """Return the range as text for an error message: ``>= 1``, ``> 0``, ``from 0 to 1``."""
        if self.high is not None:
            return f"from {self.low:g} to {self.high:g}"
        return f"{'>' if self.above else '>='} {self.low:g}"


Count = Annotated[int, Range(1)]
Several = Annotated[int, Range(2)]
Natural = Annotated[int, Range(0)]
Level = Annotated[int, Range(1, 5)]
Positive = Annotated[float, Range(0, above=True)]
NonNegative = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
