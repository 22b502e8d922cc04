"""What was claimed, and what came out here: ``python -m amend.sweep.claims`` writes sweeps/CLAIMS.md.

sweeps/claims.yaml says of each claim who makes it where, their own figure and how far it can be trusted, and which
contrast of which sweep decides it; sweeps/X.json has that contrast with its interval. The verdict is mechanical:

    above, below   holds where the whole interval lies on the claimed side of ``than``, does not where it lies on the
                   other, else it cannot be told yet
    near           holds where the whole interval lies within ``than`` of 0, does not where it lies beyond

so a claim cannot be tuned until it holds, and a difference that the data cannot resolve is called that, with the seeds
or problems that would. Many claims are held against one level, so each verdict's p-value stands beside Holm's, over all
claims that were run: over those decided alone would be to choose by outcome. A claim that says in claims.yaml why runs
are no test of it (``moot``) has our figure, no verdict, and no place among the tests.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from amend.errors import REFUSED, UserError, print_error
from amend.results.run_folder.atomic_files import atomic_write_text
from amend.results.stats.hypothesis_tests import holm
from amend.results.stats.intervals import LEVEL
from amend.results.stats.power_analysis import POWER, describe_sample_size, required_seeds
from amend.results.stats.random_effects import MeanSquares, seed_p
from amend.sweep.results_page import read_layout

NOTE = "note"  # what a reader has to know beside the figure
MOOT = "moot"  # why our runs are no test of it, whatever they give, such as words that the model cannot read
OPTIONAL = {NOTE, MOOT}
KEYS = {"id", "claim", "who", "where", "theirs", "trust", "sweep", "terms", "expect", "than", "unit"}
TRUST = {
    "READ-PAPER": "read in the paper",
    "READ-CODE": "read in the authors' code",
    "DERIVED": "worked out from the paper's figures",
    "FIG-APPROX": "read off a figure, about",
    "PODCAST": "spoken, about",
    "NONE": "no figure of theirs is known for sure",
}
EXPECT = ("above", "below", "near")
UNITS = {"points": 100.0, "number": 1.0}
HOLDS, FAILS, OPEN, NO_TEST = "holds", "does not hold", "cannot tell yet", "no test of it"
LEAST = 3  # seeds: one says nothing of the algorithm, and two hardly anything


class Decision(NamedTuple):
    """What our runs say of a claim: the figure in words, the verdict, and how sure it is."""

    ours: str
    verdict: str
    p: float | None = None
    """Of the contrast being on the side of its margin on which it is; None where the claim was not put to the test."""
    would: str = ""
    """What would resolve it, where it cannot be told yet."""


def claims(path: Path) -> list[dict[str, Any]]:
    """The claims of a file, checked; UserError in one line names the claim and what is wrong with it."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    seen: set[str] = set()
    for claim in found:
        where = f"{path}: {claim.get('id', '?')}"
        if missing := KEYS - claim.keys():
            raise UserError(f"{where}: {min(missing)}: missing; allowed: {', '.join(sorted(KEYS))}")
        if stray := claim.keys() - KEYS - OPTIONAL:
            raise UserError(f"{where}: {min(stray)}: no such key; allowed: {', '.join(sorted(KEYS | OPTIONAL))}")
        for key, known in (("trust", TRUST), ("expect", EXPECT), ("unit", UNITS)):
            if claim[key] not in known:
                raise UserError(f"{where}: {key}={claim[key]}: allowed: {', '.join(known)}")
        if claim["id"] in seen:
            raise UserError(f"{where}: twice")
        seen.add(claim["id"])
    return list(found)


def verdict(expect: str, than: float, low: float, high: float) -> str:
    """Of an interval, both ends in the units of ``than``."""
    if expect == "near":
        return HOLDS if -than < low and high < than else FAILS if low > than or high < -than else OPEN
    if expect == "below":
        low, high, than = -high, -low, -than
    return HOLDS if low > than else FAILS if high < than else OPEN


def page(
    found: Sequence[Mapping[str, Any]], results: Mapping[str, Mapping[str, Any]], not_run: Sequence[str] = ()
) -> str:
    """CLAIMS.md. ``results``: what is in sweeps/X.json, by X."""
    decisions = [decided(claim, results.get(claim["sweep"])) for claim in found]
    tested = [i for i, one in enumerate(decisions) if one.p is not None]
    adjusted = dict(zip(tested, holm(np.array([decisions[i].p for i in tested], dtype=float)).tolist(), strict=True))
    survive = [i for i in tested if decisions[i].verdict != OPEN and adjusted[i] < 1 - LEVEL]
    tally = {said: sum(one.verdict == said for one in decisions) for said in (HOLDS, FAILS, OPEN, NO_TEST)}
    seconds = [counters for _, counters in _runs(results)]
    hours = sum(seconds) / 3600
    rows = []
    for i, (claim, one) in enumerate(zip(found, decisions, strict=True)):
        theirs = f"{claim['theirs']} ({TRUST[claim['trust']]})" if claim["theirs"] else TRUST[claim["trust"]]
        source = f"[{claim['sweep']}]({claim['sweep']}.{'md' if claim['sweep'] in results else 'yaml'})"
        who = f"{claim['who']}, {claim['where']}"
        beside = "; ".join(claim[key] for key in (NOTE, MOOT) if claim.get(key))
        said = f"{claim['claim']} ({beside})" if beside else claim["claim"]
        rows.append((said, who, theirs, one.ours, f"**{one.verdict}**", _sure(one, adjusted.get(i)), source))
    head = (
        "claim",
        "who, where",
        "theirs",
        "ours, 95 %, seeds x problems",
        "verdict",
        "how sure, or what would tell",
        "sweep",
    )
    lines = [
        "# Claims",
        "",
        "Written by `python -m amend.sweep.claims` from the committed results; edit sweeps/claims.yaml, not this page.",
        "Ours are of the built-in model of 0.8 million parameters on built-in problems: a verdict is about the claim",
        "at this scale, not about the paper. In points of per cent, unless said otherwise; Student's t intervals over",
        "seeds and problems, two arms paired by both. The base model is one and the same under every seed, so claims",
        "about it alone speak of that model.",
        "",
        f"{len(rows)} claims: {tally[HOLDS]} hold, {tally[FAILS]} do not, {tally[OPEN]} cannot be told yet, of these",
        f"{len(rows) - len(tested) - tally[NO_TEST]} for want of runs; of {tally[NO_TEST]} what was run is no test.",
        "",
        f"That is many: at 95 % one in twenty of {len(tested)} tests would be on some side by chance. A verdict is its",
        f"claim's own; of the {tally[HOLDS] + tally[FAILS]} that could be told, {len(survive)} survive Holm's",
        "correction over all that were run (Holm's p below 0.05), which stands beside each. Where it cannot be told",
        "yet, the seeds (on as many problems) or problems (with as many seeds) are those that would tell in",
        f"{POWER:.0%} of repetitions, were the difference that was seen the true one.",
        "",
        f"{len(results)} sweeps were run: {len(seconds)} runs, one that sweeps share counted once, which trained and",
        f"were evaluated for {hours:.1f} hours on one core each: two at a time, {hours / 2:.1f} hours on two cores.",
        "To start a run and to write its report takes some 15 seconds more.",
        "",
        *(line for text in not_run for line in (f"Not run: {text}", "")),
        f"| {' | '.join(head)} |",
        f"| {' | '.join('---' for _ in head)} |",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
    return "\n".join(lines)


def _runs(results: Mapping[str, Mapping[str, Any]]) -> set[tuple[str, float]]:
    """Each run, and what it took: the mean of its arm. One that was run again for another sweep took another time."""
    rows = [row for result in results.values() for row in result["rows"]]
    return {(name, row["cost"]["seconds"]) for row in rows for name in row["runs"]}


def _sure(one: Decision, adjusted: float | None) -> str:
    """p and Holm's p of a verdict; of what cannot be told, what would."""
    if one.verdict in (OPEN, NO_TEST) or adjusted is None:
        return one.would
    alone = "" if adjusted < 1 - LEVEL else ", alone only"
    return f"p {_p(one.p or 0.0)}, Holm's {_p(adjusted)}{alone}"


def _p(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"


def decided(claim: Mapping[str, Any], result: Mapping[str, Any] | None) -> Decision:
    """Our figure in words, the verdict, and how sure it is."""
    found = (result or {}).get("contrasts", {}).get(claim["id"])
    if found is None:
        return Decision("not run yet", OPEN)
    if "missing" in found:
        return Decision(f"not run yet: {found['missing']}", OPEN)
    by = UNITS[claim["unit"]]
    mean, low, high = (found[key] * by for key in ("mean", "low", "high"))
    seeds = len(found["seeds"])
    words = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}], {seeds} seed{'s' * (seeds > 1)} x {found['problems']}"
    if claim.get(MOOT):
        return Decision(words, NO_TEST)
    if seeds < LEAST or "squares" not in found:
        return Decision(words, OPEN, None, f"{LEAST} seeds at least")
    said = verdict(claim["expect"], claim["than"], low, high)
    than = claim["than"] / by
    distance = than - abs(found["mean"]) if claim["expect"] == "near" else found["mean"] - than
    made = MeanSquares(**found["squares"])
    would = describe_sample_size(required_seeds(made, distance), seeds, found["problems"]) if said == OPEN else ""
    return Decision(words, said, seed_p(made, distance), would)


def results_in(folder: Path) -> dict[str, Any]:
    """The committed results."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def not_run_in(folder: Path) -> list[str]:
    """Return why the sweeps without a result were not run, from their layouts."""
    sweeps = [path.with_name(path.name.replace(".report", "")) for path in sorted(folder.glob("*.report.yaml"))]
    return [text for path in sweeps if (text := read_layout(path).not_run) and not path.with_suffix(".json").exists()]


def main() -> int:
    """Write the page."""
    folder = Path("sweeps")
    try:
        text = page(claims(folder / "claims.yaml"), results_in(folder), not_run_in(folder))
    except (UserError, OSError) as error:
        print_error(error)
        return REFUSED
    atomic_write_text(folder / "CLAIMS.md", text)
    print(folder / "CLAIMS.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
