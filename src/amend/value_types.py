"""What a knob may be: types with a range, for constructors' signatures.

The configuration is checked against these annotations before anything heavy is imported, so this file knows typing
alone. A constructor says ``alpha: NonNegative``; ``algo.shaping_coef=-1`` then ends with one line that says what is
allowed.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple


class Range(NamedTuple):
    """The numbers from ``low`` to ``high``, both included; ``low`` is left out where ``above`` is true."""

    low: float
    high: float | None = None
    above: bool = False

    def holds(self, value: float) -> bool:
        """Is ``value`` in the range? NaN and infinity never are."""
        over = value > self.low if self.above else value >= self.low
        return over and value <= (self.high if self.high is not None else 1.7e308)

    def __str__(self) -> str:
        """The range in words a user reads: ``>= 1``, ``> 0``, ``from 0 to 1``."""
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
