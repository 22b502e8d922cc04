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
from rich.box import SIMPLE_HEAD
from rich.table import Table

from amend.report.across import BASELINE, Standing, in_parts
from amend.stat.interval import LEVEL
from amend.stat.paired import holm
from amend.stat.seeds import POWER, enough, seed_difference, verdict

Values = Mapping[str, Float[np.ndarray, "s p"]]  # a figure's values, a row a seed


def against(values: Mapping[str, Values], names: Sequence[str], baseline: str) -> dict[str, dict[str, Any]]:
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
            if difference.resolved and not resolved:  # alone it would be: what would do among so many?
                strict = seed_difference(base, others[algo], 1 - (1 - LEVEL) / len(others))
                difference = difference._replace(seeds=strict.seeds, problems=strict.problems)
            difference = difference._replace(p=p, resolved=resolved)
            most, needed = max(len(base), len(others[algo])), (difference.seeds, difference.problems)
            would = "" if resolved else enough(needed, most, base.shape[1], "seeds of each")
            said = verdict(difference, len(base), len(others[algo]), base.shape[1])
            found.setdefault(algo, {})[name] = {
                **{key: float(value) for key, value in difference.interval._asdict().items()},
                "p": p, "resolved": resolved, "seeds": difference.seeds, "problems": difference.problems,
                "verdict": said, "would": would,
            }  # fmt: skip
    return found


def against_table(
    found: Mapping[str, Mapping[str, Any]], name: str, label: str, ranks: Mapping[str, Standing]
) -> Table:
    """One figure of every algorithm less the baseline's, how sure that is, and what would tell where it is not."""
    table = Table(title=f"{label} less {BASELINE}'s", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("trained", "difference", "Holm's p", f"P(better than {BASELINE})", "would tell"):
        table.add_column(column, justify="left" if column in ("trained", "would tell") else "right", no_wrap=True)
    for algo, of in found.items():
        if name in of:
            mean, low, high = (100 * of[name][end] for end in ("mean", "low", "high"))
            chance = ranks[algo].chance if algo in ranks else None
            better = in_parts(chance) if chance else "-"
            table.add_row(
                algo, f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]", f"{of[name]['p']:.2g}", better, of[name]["would"]
            )
    table.caption = (
        "P: of a run on a subject, its interval over seeds alone (Agarwal et al. 2021). Would tell: what shows such a "
        f"difference in {POWER:.0%} of repetitions, were it the true one."
    )
    table.caption_justify = "left"
    return table
