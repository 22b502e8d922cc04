"""Is it better than doing nothing? Every algorithm against a baseline, with the verdict that the data allow.

Seeds are the unit of a claim about an algorithm and problems are shared, so differences have the t interval of
``amend.stat.seeds``; p-values are Holm's, over all algorithms that are held against the baseline in a figure. What its
data cannot resolve is called that, and how many seeds or problems would do is said beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from amend.results.stats.hypothesis_tests import holm
from amend.results.stats.intervals import LEVEL, Interval
from amend.results.stats.power_analysis import (
    POWER,
    describe_sample_size,
    required_for_difference,
    required_seeds,
    verdict,
)
from amend.results.stats.random_effects import interval_over_runs, mean_squares, seed_difference


def gain(values: Float[np.ndarray, "s p"]) -> Interval:
    """The mean of a gain on every problem, a row a seed."""
    return interval_over_runs(values[None])[0]


def unresolved(values: Float[np.ndarray, "s p"], name: str) -> str:
    """The gain in a sentence, where it cannot be told from nothing; empty where it can, or where nothing changed."""
    mean, low, high = (100 * value for value in gain(values))
    seeds, problems = values.shape
    if not low <= 0 <= high or not values.any():
        return ""
    said = f"{name}: {mean:+.1f} [{low:+.1f}, {high:+.1f}] cannot be told from 0 with "
    if seeds == 1:
        return f"{said}one seed, and no number of problems would make one run speak for others."
    would = (
        describe_sample_size(required_seeds(mean_squares(values), mean / 100), seeds, problems)
        if problems > 1
        else "more problems"
    )
    return (
        f"{said}{seeds} seeds x {problems:,} problems; if it is the true change, showing it in {POWER:.0%} of "
        f"repetitions would take {would}."
    )


Values = Mapping[str, Float[np.ndarray, "s p"]]  # a figure's values, a row a seed


def compare_to_baseline(values: Mapping[str, Values], names: Sequence[str], baseline: str) -> dict[str, dict[str, Any]]:
    """By algorithm and figure: the difference from ``baseline`` with interval, p-value and verdict.

    ``values`` is by algorithm, then figure; ``names`` are the figures wanted. {} without the baseline; left out is
    whatever has fewer than two seeds, or other problems than the baseline has.
    """
    if baseline not in values:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        base = values[baseline].get(name)
        others = {
            algo: of[name]
            for algo, of in values.items()
            if algo != baseline and base is not None and name in of and of[name].shape[1] == base.shape[1]
            and min(len(of[name]), len(base)) > 1
        }  # fmt: skip
        if base is None or not others:
            continue
        each = {algo: seed_difference(base, of) for algo, of in others.items()}
        adjusted = holm(np.array([difference.p for difference in each.values()]))
        for (algo, difference), p in zip(each.items(), adjusted.tolist(), strict=True):
            resolved = p < 1 - LEVEL
            needed: tuple[int | None, int | None] = (None, None)
            if not resolved:
                # A difference that only the correction for many tests leaves open is planned at Bonferroni's level.
                level = 1 - (1 - LEVEL) / len(others) if difference.resolved else LEVEL
                if level == LEVEL or not seed_difference(base, others[algo], level).resolved:
                    needed = required_for_difference(base, others[algo], level)
            difference = difference._replace(p=p, resolved=resolved)
            most = max(len(base), len(others[algo]))
            would = "" if resolved else describe_sample_size(needed, most, base.shape[1], "seeds of each")
            said = verdict(difference, needed, len(base), len(others[algo]), base.shape[1])
            found.setdefault(algo, {})[name] = {
                **{key: float(value) for key, value in difference.interval._asdict().items()},
                "p": p, "resolved": resolved, "seeds": needed[0], "problems": needed[1],
                "verdict": said, "would": would,
            }  # fmt: skip
    return found
