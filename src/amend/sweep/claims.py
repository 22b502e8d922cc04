"""What was claimed, and what came out here: ``python -m amend.sweep.claims`` writes sweeps/CLAIMS.md.

sweeps/claims.yaml says of each claim who makes it where, their own figure and how far it can be trusted, and which
contrast of which sweep decides it; sweeps/X.json has that contrast with its interval. The verdict is mechanical:

    above, below   holds where the whole interval lies on the claimed side of ``than``, does not where it lies on the
                   other, else it cannot be told yet
    near           holds where the whole interval lies within ``than`` of 0, does not where it lies beyond

so a claim cannot be tuned until it holds, and a difference that the data cannot resolve is called that.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from amend.config import REFUSED, say
from amend.errors import UserError

KEYS = {"id", "claim", "who", "where", "theirs", "trust", "sweep", "terms", "expect", "than", "unit"}
TRUST = {
    "READ-PAPER": "read in the paper",
    "READ-CODE": "read in the authors' code",
    "PODCAST": "spoken, about",
    "NONE": "no figure of theirs is known for sure",
}
EXPECT = ("above", "below", "near")
UNITS = {"points": 100.0, "number": 1.0}
HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot tell yet"


def claims(path: Path) -> list[dict[str, Any]]:
    """The claims of a file, checked; UserError in one line names the claim and what is wrong with it."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    seen: set[str] = set()
    for claim in found:
        where = f"{path}: {claim.get('id', '?')}"
        if missing := KEYS - claim.keys():
            raise UserError(f"{where}: {min(missing)}: missing; allowed: {', '.join(sorted(KEYS))}")
        if stray := claim.keys() - KEYS:
            raise UserError(f"{where}: {min(stray)}: no such key; allowed: {', '.join(sorted(KEYS))}")
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


def page(found: Sequence[Mapping[str, Any]], results: Mapping[str, Mapping[str, Any]]) -> str:
    """CLAIMS.md. ``results``: what is in sweeps/X.json, by X."""
    tally: dict[str, int] = {HOLDS: 0, FAILS: 0, OPEN: 0}
    rows = []
    for claim in found:
        ours, said = decided(claim, results.get(claim["sweep"]))
        tally[said] += 1
        theirs = f"{claim['theirs']} ({TRUST[claim['trust']]})" if claim["theirs"] else TRUST[claim["trust"]]
        source = f"[{claim['sweep']}]({claim['sweep']}.md)"
        rows.append((claim["claim"], f"{claim['who']}, {claim['where']}", theirs, ours, f"**{said}**", source))
    head = ("claim", "who, where", "theirs", "ours, 95 %", "verdict", "sweep")
    lines = [
        "# Claims",
        "",
        "Written by `python -m amend.sweep.claims` from the committed results; edit sweeps/claims.yaml, not this page.",
        "Ours are of the built-in model of 0.8 million parameters on built-in problems: a verdict is about the claim",
        "at this scale, not about the paper. In points of per cent, unless said otherwise; intervals resample seeds",
        "and problems.",
        "",
        f"{len(rows)} claims: {tally[HOLDS]} hold, {tally[FAILS]} do not, {tally[OPEN]} cannot be told yet.",
        "",
        f"| {' | '.join(head)} |",
        f"| {' | '.join('---' for _ in head)} |",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
    return "\n".join(lines)


def decided(claim: Mapping[str, Any], result: Mapping[str, Any] | None) -> tuple[str, str]:
    """Our figure in words, and the verdict."""
    found = (result or {}).get("contrasts", {}).get(claim["id"])
    if found is None:
        return "not run yet", OPEN
    if "missing" in found:
        return f"not run yet: {found['missing']}", OPEN
    by = UNITS[claim["unit"]]
    mean, low, high = (found[key] * by for key in ("mean", "low", "high"))
    seeds = len(found["seeds"])
    words = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}], {seeds} seed{'s' * (seeds > 1)}"
    # One seed says nothing of the algorithm, and two hardly anything.
    said = verdict(claim["expect"], claim["than"], low, high) if seeds > 2 else OPEN
    return words, said


def results_in(folder: Path) -> dict[str, Any]:
    """The committed results."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def main() -> int:
    """Write the page."""
    folder = Path("sweeps")
    try:
        text = page(claims(folder / "claims.yaml"), results_in(folder))
    except (UserError, OSError) as error:
        say(error)
        return REFUSED
    (folder / "CLAIMS.md").write_text(text, encoding="utf-8")
    print(folder / "CLAIMS.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
