"""Verdicts by hand, and CLAIMS.md from what is committed."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from amend.errors import UserError
from amend.sweep.claims import FAILS, HOLDS, OPEN, claims, decided, page, results_in, verdict
from amend.sweep.file import grid, read

SWEEPS = Path(__file__).parents[2] / "sweeps"
CLAIMS = claims(SWEEPS / "claims.yaml")


@pytest.mark.parametrize(
    ("expect", "than", "low", "high", "said"),
    [
        ("above", 0, 0.1, 2, HOLDS), ("above", 0, -2, -0.1, FAILS), ("above", 0, -1, 1, OPEN),
        ("above", 3, 1, 2, FAILS),
        ("below", 0, -2, -0.1, HOLDS), ("below", 0, 0.1, 2, FAILS), ("below", 0, -1, 1, OPEN),
        ("below", -3, -2, -1, FAILS),
        ("near", 2, -1.9, 1.9, HOLDS), ("near", 2, 2.1, 5, FAILS), ("near", 2, -5, -2.1, FAILS),
        ("near", 2, 1, 3, OPEN), ("near", 2, -3, 3, OPEN),
    ],
)  # fmt: skip
def test_verdicts(expect: str, than: float, low: float, high: float, said: str) -> None:
    assert verdict(expect, than, low, high) == said


def test_two_seeds_are_too_few_to_tell() -> None:
    claim = CLAIMS[1]
    found = {"contrasts": {claim["id"]: {"mean": 0.05, "low": 0.03, "high": 0.07, "seeds": [0.05, 0.05]}}}
    assert decided(claim, found) == ("+5.0 [+3.0, +7.0], 2 seeds", OPEN)
    found["contrasts"][claim["id"]]["seeds"].append(0.05)
    assert decided(claim, found) == ("+5.0 [+3.0, +7.0], 3 seeds", HOLDS)
    assert decided(claim, None) == ("not run yet", OPEN)
    assert decided(claim, {"contrasts": {claim["id"]: {"missing": "no run"}}}) == ("not run yet: no run", OPEN)


def test_the_committed_page_is_what_the_committed_data_say() -> None:
    assert (SWEEPS / "CLAIMS.md").read_text(encoding="utf-8") == page(CLAIMS, results_in(SWEEPS))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["id"])
def test_every_claim_is_about_arms_that_its_sweep_has(claim: dict[str, object]) -> None:
    path = SWEEPS / f"{claim['sweep']}.yaml"
    planned = [{k: str(v) for k, v in arm.items() if k != "seed"} for arm in grid(read(path))]
    for term in claim["terms"]:  # type: ignore[attr-defined]
        wanted = {key: str(value) for key, value in term.get("of", {}).items()}
        found = {str(sorted(arm.items())) for arm in planned if wanted.items() <= arm.items()}
        assert len(found) == 1, f"{wanted} names {len(found)} arms of {path.name}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trust": "MEMORY"}, "trust=MEMORY"),
        ({"expect": "equal"}, "expect=equal"),
        ({"unit": "%"}, "unit=%"),
        ({"source": "x"}, "source: no such key"),
    ],
)
def test_a_claim_that_cannot_be_is_one_line(tmp_path: Path, change: dict[str, str], said: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump([copy.deepcopy(CLAIMS[0]) | change]), encoding="utf-8")
    with pytest.raises(UserError, match=said):
        claims(path)
    path.write_text(yaml.safe_dump([CLAIMS[0], CLAIMS[0]]), encoding="utf-8")
    with pytest.raises(UserError, match="twice"):
        claims(path)


def test_no_figure_is_printed_as_theirs_that_was_not_read_or_heard() -> None:
    assert not [claim["id"] for claim in CLAIMS if bool(claim["theirs"]) != (claim["trust"] != "NONE")]
