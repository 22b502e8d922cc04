"""What a figure can be at all: an interval that reaches beyond it is cut there.

A t interval does not know that no more than all problems can be right.
"""

from __future__ import annotations

import math

from amend.stat.interval import Interval

PER_TOKEN = ("right_per_1000_tokens", "unique_per_1000_tokens")
NUMBERS = ("unique", "vendi", "distinct_answers", *PER_TOKEN)  # not per cent
RATES = ("per_1000", "per_100k_tokens")  # of a gain: nothing bounds them
SIGNED = ("delta", "gain", "gain_t1", "step_excess", "token_excess", *RATES)


def limits(name: str) -> tuple[float, float]:
    """The least and the most that a figure can be; ``base.delta`` is a delta."""
    last = name.split(".")[-1]
    if last in RATES:
        return -math.inf, math.inf
    return -1.0 if last in SIGNED else 0.0, math.inf if last in (*NUMBERS, "tokens") else 1.0


def within(interval: Interval, least: float, most: float) -> Interval:
    """The interval, cut where the figure cannot be."""
    return Interval(interval.mean, max(interval.low, least), min(interval.high, most))
