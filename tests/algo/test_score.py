"""SCoRe by hand: law 1's credit matrix, the stages, what each knob is for."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from toys import LOOP, SCORE, episode, handed, policy, scored

from amend.algo.score import SCoRe
from amend.batch import Batch, collate
from amend.ops.logprobs import TokenLogprobs

PAIRS = list(product((0.0, 1.0), repeat=2))


def learner(round_: int = 0, **knobs: Any) -> SCoRe:
    made = SCoRe(*handed(policy()), **{**LOOP, **SCORE, **knobs})
    made.iteration = round_
    return made


def two_by_four(rewards: list[tuple[float, float]]) -> Batch:
    """Episodes of four tokens: ask, draw, ask, draw."""
    return collate([scored(episode([([5], [6]), ([2], [4])], sample=i), r) for i, r in enumerate(rewards)])


def weight_of(made: SCoRe, batch: Batch) -> torch.Tensor:
    """-d loss / d log pi at each token, the KL left out: what each drawn token is paid."""
    logp = torch.zeros_like(batch.old_logprobs).requires_grad_()
    nothing = torch.zeros_like(batch.old_logprobs)
    loss = made.loss(batch, made.advantages(batch), TokenLogprobs(logp, nothing, nothing, nothing))
    return -torch.autograd.grad(loss.sum(), logp)[0]


def test_credit_matrix_stage_one() -> None:
    """Over all (r1, r2): turn 1 earns nothing, turn 2 its own reward."""
    made = learner(0, baseline="none")
    assert made.stage == "I"
    assert weight_of(made, two_by_four(PAIRS)).tolist() == [
        [0, 0, 0, 0],  # 0, 0
        [0, 0, 0, 1],  # 0, 1
        [0, 0, 0, 0],  # 1, 0
        [0, 0, 0, 1],  # 1, 1
    ]


def test_credit_matrix_stage_two() -> None:
    """Over all (r1, r2): turn 1 earns r1, turn 2 r2 + 10 (r2 - r1); the bonus never touches turn 1."""
    made = learner(2, baseline="none")
    assert made.stage == "II"
    assert weight_of(made, two_by_four(PAIRS)).tolist() == [
        [0, 0, 0, 0],  # 0, 0
        [0, 0, 0, 11],  # 0, 1
        [0, 1, 0, -10],  # 1, 0
        [0, 1, 0, 1],  # 1, 1
    ]


@pytest.mark.parametrize("alpha", [0.0, 1.0, 10.0])
def test_turn_one_never_profits_from_a_wrong_answer(alpha: float) -> None:
    made = learner(2, baseline="none", shaping_coef=alpha)
    paid = weight_of(made, two_by_four(PAIRS))[:, 1]
    assert all(paid[i] >= paid[j] for i, (r, _) in enumerate(PAIRS) for j, (s, _) in enumerate(PAIRS) if r > s)


def test_the_sandbagging_variant_does_what_it_is_known_for() -> None:
    """gamma = 1: turn 1 is paid r1 + r2 + alpha (r2 - r1): with alpha = 10 a wrong start and a right end pay best."""
    paid = weight_of(learner(2, baseline="none", gamma=1.0), two_by_four(PAIRS))[:, 1]
    assert paid.tolist() == [0, 11, -9, 2]


def test_credit_by_hand_with_the_problems_baseline() -> None:
    """Two samples: (0, 1) and (1, 0). Turn 1: 0 - 1 and 1 - 0. Turn 2: 11 - (-10) and -10 - 11."""
    advantages = learner(2).advantages(two_by_four([(0.0, 1.0), (1.0, 0.0)]))
    assert advantages.tolist() == [[0, -1, 0, 21], [0, 1, 0, -21]]


def test_credit_by_hand_with_the_context_baseline() -> None:
    """The same two: -10 r1 was settled in turn 1, so turn 2 compares 11 r2 alone: 11 - 0 and 0 - 11."""
    advantages = learner(2, baseline="context").advantages(two_by_four([(0.0, 1.0), (1.0, 0.0)]))
    assert advantages.tolist() == [[0, -1, 0, 11], [0, 1, 0, -11]]


def test_equal_rewards_teach_nothing() -> None:
    assert learner(2).advantages(two_by_four([(1.0, 1.0)] * 4)).abs().max() == 0


@pytest.mark.parametrize(("round_", "held"), [(0, [[0.1, 0.1, 0.01, 0.01]]), (2, [[0.01] * 4])])
def test_who_is_held_by_which_beta(round_: int, held: list[list[float]]) -> None:
    """Stage I: turn 1 by beta2, turn 2 by beta1. Stage II: both by beta1."""
    assert torch.allclose(learner(round_).betas(two_by_four([(0.0, 0.0)])), torch.tensor(held))


def test_the_kl_of_stage_one_moves_turn_one_and_the_reward_does_not() -> None:
    made, batch = learner(0), two_by_four([(1.0, 1.0), (0.0, 0.0)])
    kl = torch.zeros_like(batch.old_logprobs).requires_grad_()
    logp = torch.zeros_like(batch.old_logprobs).requires_grad_()
    loss = made.loss(batch, made.advantages(batch), TokenLogprobs(logp, torch.zeros_like(kl), kl, torch.zeros_like(kl)))
    by_reward, by_kl = torch.autograd.grad(loss.sum(), [logp, kl])
    assert by_reward[:, 1].abs().max() == 0
    assert torch.allclose(by_kl[:, 1], torch.tensor(0.1))


@pytest.mark.parametrize(("round_", "betas"), [(0, (0.1, 0.01)), (2, (0.01, 0.01))], ids=["stage one", "stage two"])
@pytest.mark.parametrize(("kl", "cost"), [("exact", 0.25), ("k2", 0.5**2 / 2), ("k1_in_reward", 0.0)])
def test_what_it_costs_to_leave_the_reference(round_: int, betas: tuple[float, float], kl: str, cost: float) -> None:
    """A KL of 0.25 and log pi half above the reference's: beta times the one or the other is what the loss rises by."""
    made, batch = learner(round_, kl=kl), two_by_four([(0.0, 0.0)])
    logp, ref_logp, exact = (torch.where(batch.loss_mask, x, 0.0) for x in (-1.0, -1.5, 0.25))
    loss = made.loss(batch, torch.zeros_like(logp), TokenLogprobs(logp, ref_logp, exact, exact))
    assert torch.allclose(loss, cost * torch.tensor([[0.0, betas[0], 0.0, betas[1]]]))


def test_stages_of_three_turns() -> None:
    """I(a) trains the second attempt, I(b) the third with both before it held, then II trains all."""
    made = learner(0, turns=3)
    stages = []
    for made.iteration in range(6):
        stages.append((made.stage, made.target))
    assert stages == [("I(a)", 1)] * 2 + [("I(b)", 2)] * 2 + [("II", None)] * 2
    made.iteration = 2
    batch = collate([scored(episode([([5], [6]), ([2], [4]), ([2], [4])]), (1.0, 0.0, 1.0))])
    assert made.pay(batch.reward).tolist() == [[0.0, 0.0, 1.0]]
    assert torch.allclose(made.betas(batch), torch.tensor([[0.1, 0.1, 0.1, 0.1, 0.01, 0.01]]))
    made.iteration = 4
    assert made.pay(batch.reward).tolist() == [[1.0, -10.0, 11.0]]


def test_no_stage_one_and_single_turn_start_in_stage_two() -> None:
    assert learner(0, stage1_iterations=0).stage == "II"
    assert learner(0, turns=1).stage == "II"


def test_k1_in_the_reward_by_hand() -> None:
    """A turn of two draws: the first answers for both tokens' KL, the second for its own; turns do not mix."""
    made = learner(2, kl="k1_in_reward", beta1=0.5)
    batch = collate([scored(episode([([5], [6, 4]), ([2], [4])]), (0.0, 0.0))])
    ref_logp = torch.where(batch.loss_mask, torch.tensor([[0.0, -2.0, -4.0, 0.0, -8.0]]), 0.0)
    batch = Batch(**{**batch.__dict__, "ref_logp": ref_logp})
    # log pi is -1 everywhere: pi - ref is 1, 3, 7
    assert made.advantages(batch).tolist() == [[0.0, -0.5 * 4, -0.5 * 3, 0.0, -0.5 * 7]]


def test_an_offline_first_attempt_is_not_trained() -> None:
    """A handed-in reply is context: no credit, no log-probability, no KL."""
    from dataclasses import replace

    e = episode([([5], [6]), ([2], [4])])
    handed = replace(e, turns=(replace(e.turns[0], is_trained=False), e.turns[1]))
    batch = collate([scored(handed, (1.0, 0.0)), scored(e, (0.0, 1.0))])
    assert batch.loss_mask[0].tolist() == [False, False, False, True]
    advantages = learner(2).advantages(batch)
    assert advantages[0, 1] == 0
    assert advantages[1, 1] != 0


def test_a_use_of_ref_logp_that_nobody_asked_for_is_loud() -> None:
    assert torch.isnan(two_by_four([(0.0, 0.0)]).ref_logp).all()


def test_star_in_stage_two_imitates_what_ended_right() -> None:
    """Over all (r1, r2): both turns of an episode that ended right weigh 1, others nothing. Stage I is as ever."""
    made = learner(2, stage2="star")
    assert weight_of(made, two_by_four(PAIRS)).tolist() == [[0] * 4, [0, 1, 0, 1], [0] * 4, [0, 1, 0, 1]]
    made.iteration = 0
    assert weight_of(made, two_by_four(PAIRS))[:, 1].abs().max() == 0


def test_adaptive_beta2_follows_the_objective_and_never_falls_below_its_start() -> None:
    """beta2 = mean |advantage of turn 2| / KL of turn 1, between its start and a hundred times that."""
    made = learner(0, adaptive_beta2=True, baseline="none")
    for kl_t1, expected in ((0.5, 1.0), (100.0, 0.1), (1e-4, 10.0)):
        batch = two_by_four([(0.0, 1.0), (1.0, 0.0)])
        made.beta2_now = 0.1
        made.update_beta2({"kl_t1": kl_t1}, batch)
        assert made.beta2_now == pytest.approx(expected)
    assert made.extra_state() == {"beta2_now": made.beta2_now}


def test_adaptive_beta2_of_a_later_part_looks_at_every_turn_that_is_held() -> None:
    made = learner(0, adaptive_beta2=True, turns=3)
    made.iteration, made.beta2_now = made.stage1_iterations, 0.1  # I(b): turns 1 and 2 are held
    made.advantage = lambda batch: torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, -4.0]])
    made.update_beta2({"kl_t1": 1.0, "kl_t2": 0.5, "kl_t3": 9.0}, two_by_four(PAIRS))
    assert made.beta2_now == pytest.approx(3.0 / 1.5)
