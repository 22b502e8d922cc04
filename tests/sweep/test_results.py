"""A sweep's figures by hand, and its pages regenerated from what is committed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from amend.errors import UserError
from amend.results.analysis.run_metrics import Curve, Measured, measured
from amend.results.metrics.episode_table import COLUMNS, Columns
from amend.results.run_folder.naming import FINISHED
from amend.results.run_folder.reader import Run
from amend.results.stats.random_effects import mean_squares, seed_interval
from amend.sweep import results
from amend.sweep.plan import Plans
from amend.sweep.results import Arm, contrast, curves, row
from amend.sweep.results_page import Layout, costs, over, page, read_layout
from amend.sweep.spec import read_sweep

SWEEPS = Path(__file__).parents[2] / "sweeps"
RESULTS = [path for path in sorted(SWEEPS.glob("*.json")) if path.with_suffix(".yaml").is_file()]


def table(phase: str, decoding: str, attempts: list[list[list[tuple[str, bool]]]]) -> dict[str, list[object]]:
    """Columns of attempts[problem][sample][turn] = (answer, right); the text is the answer, ten times."""
    columns: dict[str, list[object]] = {name: [] for name in COLUMNS}
    for p, samples in enumerate(attempts):
        for s, turns in enumerate(samples):
            for k, (answer, right) in enumerate(turns):
                told = {
                    "phase": phase, "decoding": decoding, "problem": str(p), "sample": s, "turn": k + 1, "level": 1,
                    "subject": "a", "text": answer * 10, "answer": answer, "correct": right, "tokens": 3, "stop": "end",
                    "logp": -1.0, "question": "", "gold": "", "why": "",
                }  # fmt: skip
                for name in COLUMNS:
                    columns[name].append(told.get(name))
    return columns


def run_of(*tables: Columns) -> Run:
    merged = {name: [value for one in tables for value in one[name]] for name in COLUMNS}
    metrics = (
        {"sampled_tokens": 10, "accuracy_t1": 0.0, "accuracy_t2": 0.25},
        {"sampled_tokens": 20, "accuracy_t1": 0, "accuracy_t2": 0.5},
    )
    return Run(Path(), "", {}, metrics, (), merged, {"cost": {"seconds": 2}})


def test_figures_by_hand() -> None:
    right, wrong, other = ("a", True), ("b", False), ("c", False)
    greedy = table("trained", "greedy", [[[wrong, right]], [[right, right]], [[right, wrong]], [[wrong, other]]])
    wide = table("trained", "wide", [[[right], [wrong], [right]], [[wrong], [wrong], [other]]])
    found = measured(run_of(greedy, wide))
    said = {name: value.tolist() for name, value in found.values.items()}
    assert said["acc_t1"] == [0, 1, 1, 0] and said["acc_t2"] == [1, 1, 0, 0] and said["delta"] == [1, 0, -1, 0]
    assert said["i_to_c"] == [1, 0, 0, 0] and said["c_to_i"] == [0, 0, 1, 0]
    assert np.mean(said["fix_rate"]) == pytest.approx(1 / 2) and np.mean(said["break_rate"]) == pytest.approx(1 / 2)
    assert np.mean(said["auroc_t1"]) == np.mean(said["auroc_t2"]) == 0.5, "all are equally sure"
    assert said["change_rate"] == [1, 0, 1, 1] and said["unedited"] == [0, 1, 0, 0]
    assert said["maj"] == [1, 0] and said["pass"] == [1, 0] and said["unique"] == [1, 0]
    assert said["mean"] == [pytest.approx(2 / 3), 0]
    assert found.curves["learning"].x == (10, 20) and found.curves["learning"].y.tolist() == [[0.25, 0.5]]
    assert found.curves["edits"].y.sum(axis=1).tolist() == [1] * 4 and found.curves["edits"].y[1, 0] == 1
    assert found.curves["pass"].x == (1, 2, 3) and found.cost == {"seconds": 2}
    assert not [name for name in said if name.startswith(("base.", "student."))]


def test_the_second_attempt_is_held_against_what_errors_a_step_allow() -> None:
    """Half are right at first in one step each: e is 1/2, two steps are right in 1/4, and 3/4 of the second are."""
    right, wrong = ("a", True), ("b", False)
    greedy = table("trained", "greedy", [[[right, right]], [[right, right]], [[wrong, right]], [[wrong, wrong]]])
    greedy["level"] = [1, 1, 1, 1, 2, 2, 2, 2]
    said = measured(run_of(greedy)).values
    assert said["step_error"].mean() == pytest.approx(0.5) and said["step_predicted"].mean() == pytest.approx(0.25)
    assert said["step_excess"].mean() == pytest.approx(0.5) and said["token_excess"].mean() == pytest.approx(0.5)
    assert said["level1.acc_t1"].tolist() == [1, 1] and said["level2.acc_t1"].tolist() == [0, 0]
    assert said["level2.acc_t2"].tolist() == [1, 0]


def test_a_rate_that_is_of_nothing_is_no_figure() -> None:
    right = ("a", True)
    said = measured(run_of(table("trained", "greedy", [[[right, right]], [[right, right]]]))).values
    assert said["break_rate"].tolist() == [0, 0] and not {"fix_rate", "auroc_t1", "auroc_t2"} & said.keys()


def test_what_a_student_is_given_is_weighed_by_replies_and_by_tokens() -> None:
    """Two problems, two replies each: 3 of 4 right, one kind a problem; 8 replies took 40 tokens, training 60."""
    right, wrong = ("a", True), ("b", False)
    wide = [table(phase, "wide", [[[right], [right]], [[right], [wrong]]]) for phase in ("generated", "student")]
    base = table("base", "wide", [[[wrong], [right]], [[wrong], [wrong]]])
    told = {"imitated": 5, "episodes": 8, "sampled_tokens": 40}
    run = replace(run_of(*wide, base), student=told, summary={"cost": {"sampled_tokens": 60}})
    said = {name: value.mean() for name, value in measured(run).values.items()}
    assert said["generated.unique_per_reply"] == 0.5
    assert said["generated.right_per_1000_tokens"] == pytest.approx(0.75 * 8 / 0.1)
    assert said["generated.unique_per_1000_tokens"] == pytest.approx(0.5 * 8 / 0.1)
    assert said["student.per_1000"] == pytest.approx(100) and said["student.per_100k_tokens"] == pytest.approx(500)


def test_what_is_generated_is_of_training_problems() -> None:
    rows = [
        {
            "figures": {"generated.mean": {"problems": 64}, "mean": {"problems": 32}},
            "curves": {"pass": {"x": [1, 96]}, "generated.pass": {"x": [1, 8]}},
        }
    ]
    assert over({"rows": rows}, ["generated.mean"]) == "64 training problems, k = 8 attempts each."
    assert over({"rows": rows}, ["mean"]) == "32 test problems, k = 96 attempts each."
    rows[0]["figures"]["acc_t1"] = {"problems": 500}
    assert over({"rows": rows}, ["acc_t1", "mean"]) == "500, 32 test problems, by column, k = 96 attempts each."


def test_what_a_reward_model_was_taught_with_is_told_beside_what_the_run_sampled() -> None:
    """An arm without one has 0; where no arm has one there is no column."""
    rows = [{"arm": {"reward": name}, "seeds": [0], "cost": {"sampled_tokens": 5, "seconds": 1}} for name in "ab"]
    assert costs({"rows": rows})[0] == "|  | seeds | sampled tokens | seconds |"
    rows[1]["cost"]["orm_sampled_tokens"] = 1400
    assert costs({"rows": rows}) == [
        "|  | seeds | sampled tokens | sampled tokens of its reward model | seconds |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| reward=a | 1 | 5 | 0 | 1 |",
        "| reward=b | 1 | 5 | 1,400 | 1 |",
    ]


def test_a_figure_that_a_layout_asks_for_is_in_no_others_result() -> None:
    errors, methods = (read_layout(SWEEPS / f"{name}.yaml") for name in ("thread_errors", "score_methods"))
    asked = [name for figures in errors.tables.values() for name in figures]
    assert len(asked) == 16
    assert all(errors.keeps(name) and errors.keeps(f"base.{name}") for name in asked)
    assert not any(methods.keeps(name) or methods.keeps(f"base.{name}") for name in asked)
    assert methods.keeps("acc_t1") and Layout().keeps("acc_t1")


def test_a_layout_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.report.yaml").write_text("table: {}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.report\.yaml: table: no such key; allowed: tables, curves, not_run"):
        read_layout(tmp_path / "a.yaml")


def test_votes_at_equal_budgets() -> None:
    """One of four first attempts is right; every correction is: two corrected beat any vote of four."""
    right, wrong = ("a", True), ("b", False)
    sampled = table("trained", "sampled", [[[right, right], [wrong, right], [wrong, right], [wrong, right]]])
    said = measured(run_of(sampled)).values
    assert said["sequential_4"].tolist() == [1.0] and said["parallel_4"].tolist() == [0.0]
    assert said["parallel_2"].tolist() == [0.25]  # both tied: 3 of 6 pairs hold the right one, and half of those win


def arms() -> list[Arm]:
    generator = np.random.default_rng(0)
    made = []
    for name, rate in (("one", 0.9), ("two", 0.4)):
        arm = Arm({"algo": name, "seed": 7, "k": 2})
        for seed in (0, 1, 2):
            values = {"acc_t1": (generator.random(200) < rate).astype(float), "few": np.ones(3)}
            curve = {"pass": Curve((1.0, 2.0), np.ones((3, 2)))}
            arm.add(seed, f"{name}-0a1b-s{seed}", Measured(values, curve, {"seconds": 1.0 + seed}))
        made.append(arm)
    return made


def test_a_contrast_is_taken_problem_by_problem() -> None:
    one, two = arms()
    terms = [{"of": {"algo": "one"}, "figure": "acc_t1"}, {"of": {"algo": "two"}, "figure": "acc_t1", "times": -1}]
    found = contrast([one, two], terms)
    each = [float((one.runs[s].values["acc_t1"] - two.runs[s].values["acc_t1"]).mean()) for s in (0, 1, 2)]
    assert found["seeds"] == pytest.approx(each) and found["mean"] == pytest.approx(np.mean(each))
    assert found["low"] < found["mean"] < found["high"] and found["low"] > 0.3 and found["problems"] == 200
    cells = np.stack([one.runs[s].values["acc_t1"] - two.runs[s].values["acc_t1"] for s in (0, 1, 2)])
    assert (found["mean"], found["low"], found["high"]) == pytest.approx(seed_interval(cells))
    assert found["squares"] == pytest.approx(mean_squares(cells)._asdict())
    del two.runs[1]
    assert len(contrast([one, two], terms)["seeds"]) == 2, "only seeds that both have"


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        ([{"of": {"algo": "three"}, "figure": "acc_t1"}], "no run of algo=three"),
        ([{"of": {"k": 2}, "figure": "acc_t1"}], "several arms of k=2"),
        ([{"of": {"algo": "one"}, "figure": "acc_t9"}], "no acc_t9"),
        ([{"of": {"algo": "one"}, "figure": "acc_t1"}, {"of": {"algo": "one"}, "figure": "few"}], "same problems"),
    ],
)
def test_what_runs_cannot_say_is_said(terms: list[dict[str, object]], why: str) -> None:
    assert why in contrast(arms(), terms)["missing"]


def test_seeds_that_differ_much_make_a_wide_interval_within_what_can_be() -> None:
    arm = Arm({"algo": "one"})
    for seed, rate in enumerate((0.0, 0.5, 0.9)):
        arm.add(seed, f"one-s{seed}", Measured({"acc_t1": (np.arange(100) < 100 * rate).astype(float)}, {}, {}))
    found = row(arm, Layout())["figures"]["acc_t1"]
    assert found["low"] == 0.0 and found["high"] == 1.0, "a bootstrap of three seeds cannot leave [0, 0.9]"
    none = Arm({"algo": "none"})
    none.runs = {seed: Measured({"acc_t1": np.zeros(100)}, {}, {}) for seed in arm.runs}
    terms = [{"of": {"algo": "one"}, "figure": "acc_t1"}, {"of": {"algo": "none"}, "figure": "acc_t1", "times": -1}]
    apart = contrast([arm, none], terms)
    assert -1.0 < apart["low"] < 0 and apart["high"] == 1.0, "a difference of shares is at most 1"
    one = Arm({"algo": "one"})
    one.add(0, "one-s1", arm.runs[1])
    alone = contrast([one], [{"of": {}, "figure": "acc_t1"}])
    assert 0.3 < alone["low"] < 0.5 < alone["high"] < 0.7 and "squares" not in alone, "problems alone"


def test_a_row_says_what_was_found_and_of_how_many() -> None:
    found = row(arms()[0], Layout())
    assert found["arm"] == {"algo": "one", "k": 2} and found["seeds"] == [0, 1, 2] and found["cost"] == {"seconds": 2.0}
    assert found["figures"]["few"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "seeds": [1.0] * 3, "problems": 3}
    assert found["curves"]["pass"] == {"x": [1.0, 2.0], "y": [1.0, 1.0], "low": [1.0, 1.0], "high": [1.0, 1.0]}
    assert curves(arms()[0], [0])["pass"]["y"] == [1.0, 1.0]


def test_every_machine_and_commit_that_runs_were_made_with_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One seed from one commit, the next from another with files changed."""
    file = tmp_path / "one.yaml"
    file.write_text(
        "program: run.py\nmethod: grid\nname: one\nparameters:\n  seed:\n    values: [0, 1]\n"
        'command: ["${program}", "${args_no_hyphens}"]\n',
        encoding="utf-8",
    )
    commits = ("b" * 40, "a" * 40 + "+")
    greedy = run_of(table("trained", "greedy", [[[("a", True), ("a", True)]]]))

    def read_one(folder: Path) -> Run:
        seed = int(folder.name)
        return replace(greedy, versions={"cpu": "YX"[seed], "cores": 1, "python": "3", "commit": commits[seed]})

    for seed in ("0", "1"):
        (tmp_path / seed).mkdir()
        (tmp_path / seed / FINISHED).touch()
    monkeypatch.setattr(results, "latest_finished", lambda base: tmp_path / base.name.rpartition("-s")[2])
    monkeypatch.setattr(results, "read_run", read_one)
    found = results.result(read_sweep(file), Plans(read_sweep(file), "", []), [])
    said = f"X and Y, 1 core per run, Python 3, commit {'a' * 10}+ and {'b' * 10} (+: with uncommitted changes)."
    assert said in page("# One.\n", found, Layout())


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_committed_page_is_its_datas(path: Path) -> None:
    found = json.loads(path.read_text(encoding="utf-8"))
    source = path.with_suffix(".yaml").read_text(encoding="utf-8")
    assert path.with_suffix(".md").read_text(encoding="utf-8") == page(
        source, found, read_layout(path.with_suffix(".yaml"))
    )
