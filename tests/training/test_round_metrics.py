"""What a round shows of itself, by hand."""

from __future__ import annotations

from amend.training.round_metrics import compute_round_metrics
from amend.types import Completion, Episode, Problem, Scored, Turn


def said(
    first: str, second: str, right: tuple[float, float], paid: tuple[float, float] | None = None, problem: str = "p"
) -> Scored:
    turns = tuple(Turn((2,), Completion((5,), (-1.0,), text, "end")) for text in (first, second))
    return Scored(
        Episode(Problem(problem, "q", "a"), 0, turns),
        paid or right,
        {"oracle": right},
        verified=tuple(value > 0.5 for value in right),
    )


def test_flips_and_what_is_paid() -> None:
    row = compute_round_metrics([said("a", "b", (0, 1), (0.0, 11.0)), said("a", "b", (1, 1), (1.0, 1.0))])
    assert (row["accuracy_t1"], row["accuracy_t2"], row["i_to_c"], row["c_to_i"]) == (0.5, 1.0, 0.5, 0.0)
    assert (row["reward_t1"], row["reward_t2"]) == (0.5, 6.0)
    row = compute_round_metrics([said("a", "b", (0, 1))])  # written in every round, whether it differs or not
    assert (row["reward_t1"], row["accuracy_t1"], row["reward_t2"], row["accuracy_t2"]) == (0, 0, 1, 1)


def test_an_answer_changes_with_its_box_and_a_program_with_its_text() -> None:
    same = said("so \\boxed{2}", "thus \\boxed{2}", (1, 1))
    assert compute_round_metrics([same])["change_rate"] == 0.0
    assert compute_round_metrics([same, said("\\boxed{2}", "\\boxed{3}", (1, 0))])["change_rate"] == 0.5
    assert compute_round_metrics([said("\\boxed{2}", "none", (1, 0))])["change_rate"] == 1.0
    assert compute_round_metrics([said("def f(): 1", "def f(): 2", (0, 1)), said("def f(): 1", "def f(): 1", (0, 0))])[
        "change_rate"
    ] == 0.5  # fmt: skip


def test_groups_that_are_all_paid_alike() -> None:
    """Of p's three one differs, in turn 2 alone; q's two do not; r's one has nothing to differ from. One of two."""
    p = [said("a", "b", (1, 1)), said("a", "b", (1, 1)), said("a", "b", (1, 0))]
    q, r = [said("a", "b", (0, 1), problem="q")] * 2, [said("a", "b", (0, 1), problem="r")]
    assert compute_round_metrics([*p, *q, *r])["frac_reward_zero_std"] == 0.5
    assert "frac_reward_zero_std" not in compute_round_metrics(r)
