"""Compare published claims with the results of the sweeps: ``python -m amend.sweep.claims`` writes sweeps/CLAIMS.md.

sweeps/claims.yaml lists the claims. Each entry has the source, the published figure and its reliability, and the
contrast of a sweep that decides the claim. sweeps/X.json has this contrast with its 95 % interval. A fixed rule gives
the verdict, so nobody can tune a claim until it holds:

    above, below   "holds" if the whole interval lies on the claimed side of ``than``; "does not hold" if it lies on
                   the other side; else "inconclusive"
    near           "holds" if the whole interval lies within ``than`` of 0; "does not hold" if it lies outside; else
                   "inconclusive"

An inconclusive claim has the number of seeds or problems that would decide it. Each p-value has Holm's adjusted p-value
next to it, over all tested claims. An adjustment over the decided claims alone would select by outcome. A claim with
``moot`` in claims.yaml cannot be tested by these runs. The page prints its figure, without a verdict or a test.
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

NOTE = "note"  # an explanation of the figure for the reader
MOOT = "moot"  # why our runs cannot test the claim, such as prompts on which the model was not trained
OPTIONAL = {NOTE, MOOT}
KEYS = {"id", "claim", "who", "where", "theirs", "trust", "sweep", "terms", "expect", "than", "unit"}
TRUST = {
    "READ-PAPER": "read in the paper",
    "READ-CODE": "read in the authors' code",
    "DERIVED": "computed from the paper's figures",
    "FIG-APPROX": "read off a figure, approximate",
    "PODCAST": "said in a podcast, approximate",
    "NONE": "no figure of the authors is known with certainty",
}
EXPECT = ("above", "below", "near")
UNITS = {"points": 100.0, "number": 1.0}
HOLDS, FAILS, OPEN, NO_TEST = "holds", "does not hold", "inconclusive", "not testable"
LEAST = 3  # smallest number of seeds: one has no variance between seeds, and two estimate it badly


class Decision(NamedTuple):
    """The result of our runs for a claim.

    Attributes:
        ours: Our figure as text, with its interval, seeds and problems.
        verdict: The verdict.
        p: p-value of the hypothesis that the contrast equals its margin; None if the claim was not tested.
        would: The required number of seeds or problems as text, if the verdict is inconclusive.
    """

    ours: str
    verdict: str
    p: float | None = None
    would: str = ""


def claims(path: Path) -> list[dict[str, Any]]:
    """Read and check the claims of a file.

    Raises:
        UserError: If a claim is invalid; the message names the claim.
    """
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    seen: set[str] = set()
    for claim in entries:
        place = f"{path}: {claim.get('id', '?')}"
        if missing := KEYS - claim.keys():
            raise UserError(f"{place}: {min(missing)}: missing; allowed: {', '.join(sorted(KEYS))}")
        if stray := claim.keys() - KEYS - OPTIONAL:
            raise UserError(f"{place}: {min(stray)}: no such key; allowed: {', '.join(sorted(KEYS | OPTIONAL))}")
        for key, allowed in (("trust", TRUST), ("expect", EXPECT), ("unit", UNITS)):
            if claim[key] not in allowed:
                raise UserError(f"{place}: {key}={claim[key]}: allowed: {', '.join(allowed)}")
        if claim["id"] in seen:
            raise UserError(f"{place}: this id occurs twice; every claim needs its own id")
        seen.add(claim["id"])
    return list(entries)


def verdict(expect: str, than: float, low: float, high: float) -> str:
    """Return the verdict for an interval.

    Args:
        expect: The claimed relation to ``than``: above | below | near.
        than: The margin.
        low: The lower end of the interval, in the unit of ``than``.
        high: The upper end of the interval, in the unit of ``than``.
    """
    if expect == "near":
        return HOLDS if -than < low and high < than else FAILS if low > than or high < -than else OPEN
    if expect == "below":
        low, high, than = -high, -low, -than
    return HOLDS if low > than else FAILS if high < than else OPEN


def page(
    found: Sequence[Mapping[str, Any]], results: Mapping[str, Mapping[str, Any]], not_run: Sequence[str] = ()
) -> str:
    """Return the text of CLAIMS.md.

    Args:
        found: The claims.
        results: The content of each sweeps/X.json, by X.
        not_run: Why sweeps without a result were not run.
    """
    decisions = [decided(claim, results.get(claim["sweep"])) for claim in found]
    tested = [i for i, decision in enumerate(decisions) if decision.p is not None]
    adjusted = dict(zip(tested, holm(np.array([decisions[i].p for i in tested], dtype=float)).tolist(), strict=True))
    significant = [i for i in tested if decisions[i].verdict != OPEN and adjusted[i] < 1 - LEVEL]
    counts = {word: sum(decision.verdict == word for decision in decisions) for word in (HOLDS, FAILS, OPEN, NO_TEST)}
    seconds = [duration for _, duration in _runs(results)]
    hours = sum(seconds) / 3600
    rows = []
    for i, (claim, decision) in enumerate(zip(found, decisions, strict=True)):
        theirs = f"{claim['theirs']} ({TRUST[claim['trust']]})" if claim["theirs"] else TRUST[claim["trust"]]
        source = f"[{claim['sweep']}]({claim['sweep']}.{'md' if claim['sweep'] in results else 'yaml'})"
        who = f"{claim['who']}, {claim['where']}"
        remark = "; ".join(claim[key] for key in (NOTE, MOOT) if claim.get(key))
        text = f"{claim['claim']} ({remark})" if remark else claim["claim"]
        confidence = _describe_confidence(decision, adjusted.get(i))
        rows.append((text, who, theirs, decision.ours, f"**{decision.verdict}**", confidence, source))
    head = (
        "claim",
        "source",
        "published",
        "ours, 95 %, seeds x problems",
        "verdict",
        "p-value, or required sample size",
        "sweep",
    )
    lines = [
        "# Claims",
        "",
        "`python -m amend.sweep.claims` writes this page from the committed results. Edit sweeps/claims.yaml instead.",
        "",
        "Our figures are those of the built-in model (0.8 million parameters) on built-in problems.",
        "A verdict therefore concerns the claim at this scale, not the paper.",
        "The figures are percentage points unless the claim names another unit.",
        "The intervals are Student's t intervals over seeds and problems. Two arms are paired by both.",
        "The base model is the same under every seed. A claim about the base model alone concerns only that model.",
        "",
        f"Of {len(rows)} claims, {counts[HOLDS]} hold, {counts[FAILS]} do not hold, {counts[OPEN]} are inconclusive,",
        f"and {counts[NO_TEST]} are not testable with our runs.",
        f"Of the inconclusive claims, {len(rows) - len(tested) - counts[NO_TEST]} have too few runs for a test.",
        "",
        f"With {len(tested)} tests at the 95 % level, about one in twenty would be significant by chance.",
        "Each verdict uses the unadjusted interval of its claim.",
        "The table also has Holm's p-value, which is adjusted for all tests.",
        f"Of the {counts[HOLDS] + counts[FAILS]} conclusive verdicts, {len(significant)} have Holm's p below 0.05.",
        "For an inconclusive claim, the table has the required sample size:",
        "more seeds with as many problems, or more problems with as many seeds.",
        f"With this size, a difference as large as ours is detected with {POWER:.0%} power.",
        "",
        f"The {len(results)} sweeps have {len(seconds)} runs; a run that several sweeps share is counted once.",
        f"Training and evaluation took {hours:.1f} hours on one core per run.",
        f"This is {hours / 2:.1f} hours on two cores with two runs at a time.",
        "Starting a run and writing its report takes about 15 seconds more.",
        "",
        *(line for text in not_run for line in (f"Not run: {text}", "")),
        f"| {' | '.join(head)} |",
        f"| {' | '.join('---' for _ in head)} |",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
    return "\n".join(lines)


def _runs(results: Mapping[str, Mapping[str, Any]]) -> set[tuple[str, float]]:
    """Return each run with its duration in seconds, which is the mean of its arm.

    A run that was repeated for another sweep has another duration, so it is counted twice.
    """
    rows = [row for result in results.values() for row in result["rows"]]
    return {(name, row["cost"]["seconds"]) for row in rows for name in row["runs"]}


def _describe_confidence(decision: Decision, adjusted: float | None) -> str:
    """Return both p-values of a conclusive verdict, or the required sample size."""
    if decision.verdict in (OPEN, NO_TEST) or adjusted is None:
        return decision.would
    remark = "" if adjusted < 1 - LEVEL else ", unadjusted only"
    return f"p {_format_p(decision.p or 0.0)}, Holm's {_format_p(adjusted)}{remark}"


def _format_p(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"


def decided(claim: Mapping[str, Any], result: Mapping[str, Any] | None) -> Decision:
    """Return the decision about a claim.

    Args:
        claim: The claim.
        result: The content of its sweep's JSON file; None if the sweep has no result.
    """
    contrast = (result or {}).get("contrasts", {}).get(claim["id"])
    if contrast is None:
        return Decision("not run yet", OPEN)
    if "missing" in contrast:
        return Decision(f"not run yet: {contrast['missing']}", OPEN)
    unit = UNITS[claim["unit"]]
    mean, low, high = (contrast[key] * unit for key in ("mean", "low", "high"))
    seeds = len(contrast["seeds"])
    figure = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}], {seeds} seed{'s' * (seeds > 1)} x {contrast['problems']}"
    if claim.get(MOOT):
        return Decision(figure, NO_TEST)
    if seeds < LEAST or "squares" not in contrast:
        return Decision(figure, OPEN, None, f"at least {LEAST} seeds")
    word = verdict(claim["expect"], claim["than"], low, high)
    than = claim["than"] / unit
    distance = than - abs(contrast["mean"]) if claim["expect"] == "near" else contrast["mean"] - than
    squares = MeanSquares(**contrast["squares"])
    sizes = (seeds, contrast["problems"])
    would = describe_sample_size(required_seeds(squares, distance), *sizes) if word == OPEN else ""
    return Decision(figure, word, seed_p(squares, distance), would)


def results_in(folder: Path) -> dict[str, Any]:
    """Return the content of each result file in a folder, by the name of the sweep."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def not_run_in(folder: Path) -> list[str]:
    """Return why the sweeps without a result were not run, from their layouts."""
    sweeps = [path.with_name(path.name.replace(".report", "")) for path in sorted(folder.glob("*.report.yaml"))]
    return [text for path in sweeps if (text := read_layout(path).not_run) and not path.with_suffix(".json").exists()]


def main() -> int:
    """Write CLAIMS.md and return the exit status: 0, or 2 for bad input."""
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
