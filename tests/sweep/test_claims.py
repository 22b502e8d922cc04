"""Verdicts by hand, and CLAIMS.md from what is committed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from amend.errors import UserError
from amend.results.stats.random_effects import mean_squares, seed_interval
from amend.sweep.claims import FAILS, HOLDS, NO_TEST, OPEN, claims, decided, not_run_in, page, results_in, verdict
from amend.sweep.search import grid
from amend.sweep.spec import read_sweep

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


def found_of(values: np.ndarray) -> dict[str, Any]:
    """A contrast as a sweep's result holds it."""
    seeds = values.mean(axis=1).tolist()
    made = {"seeds": seeds, "problems": values.shape[1], "squares": mean_squares(values)._asdict()}
    return seed_interval(values)._asdict() | made


def drawn(mean: float, seeds: int = 3) -> np.ndarray:
    rng = np.random.default_rng(0)
    return mean + rng.normal(0, 0.01, (seeds, 1)) + rng.normal(0, 0.3, (1, 400)) + rng.normal(0, 0.2, (seeds, 400))


def test_two_seeds_are_too_few_to_tell() -> None:
    claim = CLAIMS[1]
    found = {"contrasts": {claim["id"]: found_of(drawn(0.2, 2))}}
    assert decided(claim, found)[1:] == (OPEN, None, "at least 3 seeds")
    found = {"contrasts": {claim["id"]: found_of(drawn(0.2))}}
    assert decided(claim, found).verdict == HOLDS and ", 3 seeds" in decided(claim, found).ours
    assert decided(claim, None)[:2] == ("not run yet", OPEN)
    assert decided(claim, {"contrasts": {claim["id"]: {"missing": "no run"}}})[:2] == ("not run yet: no run", OPEN)


@pytest.mark.parametrize(
    ("expect", "than", "mean"),
    [
        ("above", 0, 0.2),
        ("above", 0, 0.02),
        ("above", -3, -0.1),
        ("below", 0, -0.01),
        ("near", 40, 0.2),
        ("near", 3, 0.2),
    ],
)
def test_p_is_below_a_twentieth_where_the_interval_tells(expect: str, than: float, mean: float) -> None:
    claim = {**CLAIMS[1], "expect": expect, "than": than}
    said = decided(claim, {"contrasts": {claim["id"]: found_of(drawn(mean))}})
    assert said.p is not None and (said.p < 0.05) == (said.verdict != OPEN) == (said.would == "")
    assert said.verdict != OPEN or any(word in said.would for word in ("seeds", "problems", "more of both"))


def test_many_claims_are_corrected_for() -> None:
    """Two tests, one of them clear and one that only stands alone; what was not run is no test."""
    first, second, third = ({**CLAIMS[1], "id": name, "claim": name, "sweep": "s"} for name in "abc")
    values = drawn(0.0)
    edge = values - values.mean() + 1.1 * (seed_interval(values).high - values.mean())
    results = {"s": {"rows": [], "contrasts": {"a": found_of(drawn(0.5)), "b": found_of(edge)}}}
    text = page([first, second, third], results)
    assert "Of 3 claims, 2 hold, 0 do not hold, 1 are inconclusive,\nand 0 are not testable" in text
    assert "Of the inconclusive claims, 1 have too few runs for a test" in text
    assert "Of the 2 conclusive verdicts, 2 have Holm's p below 0.05" in text
    tests = {name: found_of(edge) for name in "abc"}
    text = page([first, second, third], {"s": {"rows": [], "contrasts": tests}})
    assert "Of the 3 conclusive verdicts, 0 have Holm's p below 0.05" in text and text.count(", unadjusted only") == 3


def test_what_says_nothing_of_the_claim_is_no_test_whatever_it_gives() -> None:
    """Of two clear figures one is of words that the model cannot read: it has no verdict, and is in nobody's family."""
    first, second = ({**CLAIMS[1], "id": name, "claim": name, "sweep": "s"} for name in "ab")
    moot = {**second, "moot": "words that it cannot read", "note": "beside"}
    tests = {name: found_of(drawn(0.5)) for name in "ab"}
    assert decided(moot, {"contrasts": tests})[1:] == (NO_TEST, None, "")
    text = page([first, moot], {"s": {"rows": [], "contrasts": tests}})
    assert "Of 2 claims, 1 hold, 0 do not hold, 0 are inconclusive,\nand 1 are not testable" in text
    assert "With 1 tests at the 95 % level" in text and "| b (beside; words that it cannot read) |" in text
    assert f"{decided(first, {'contrasts': tests}).ours} | **not testable** |  | " in text


def test_a_run_that_two_sweeps_share_is_counted_once() -> None:
    first = {"runs": ["ppo-1-s0", "ppo-1-s1"], "cost": {"seconds": 1800.0}}
    second = {"runs": ["ppo-2-s0"], "cost": {"seconds": 3600.0}}
    again = {"runs": ["ppo-2-s0"], "cost": {"seconds": 5400.0}}  # the same configuration, run once more
    results = {"a": {"rows": [first, second], "contrasts": {}}, "b": {"rows": [first, again], "contrasts": {}}}
    text = page([], results)
    assert "The 2 sweeps have 4 runs; a run that several sweeps share is counted once" in text
    assert "took 3.5 hours on one core per run.\nThis is 1.8 hours on two cores" in text


def test_the_committed_page_is_what_the_committed_data_say() -> None:
    assert (SWEEPS / "CLAIMS.md").read_text(encoding="utf-8") == page(CLAIMS, results_in(SWEEPS), not_run_in(SWEEPS))


def test_rows_run_again_with_other_seeds_fall_inside_their_intervals() -> None:
    """score_methods_again.yaml: seeds 3, 4 and 5 of four of score_methods' rows, from scratch. A contrast's mean is
    that of its figures, for all have the same problems. What is of the base model alone is the same under any seed."""
    results = results_in(SWEEPS)
    again = {row["arm"]["algo"]: row["figures"] for row in results["score_methods_again"]["rows"]}
    held = []
    for claim in (one for one in CLAIMS if one["sweep"] == "score_methods"):
        arms = {term["of"]["algo"] for term in claim["terms"]}
        if arms <= again.keys() and arms != {"untrained"}:
            terms = [
                (term.get("times", 1), again[term["of"]["algo"]][term["figure"]]["mean"]) for term in claim["terms"]
            ]
            first = results["score_methods"]["contrasts"][claim["id"]]
            held.append(first["low"] <= sum(times * mean for times, mean in terms) <= first["high"])
    assert len(held) >= 13 and all(held)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["id"])
def test_every_claim_is_about_arms_that_its_sweep_has(claim: dict[str, object]) -> None:
    path = SWEEPS / f"{claim['sweep']}.yaml"
    planned = [{k: str(v) for k, v in arm.items() if k != "seed"} for arm in grid(read_sweep(path))]
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
