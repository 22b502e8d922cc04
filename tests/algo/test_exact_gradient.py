"""The expected gradient, by enumeration, against the true one.

On seven tokens with one-token replies there are 49 two-turn episodes. Every ordered pair of them is a group of two
samples, weighed by its probability, so what an algorithm's loss is expected to do is computed, not sampled; and the
objective it should descend is written down from the paper and differentiated. Turn 1's distribution is held fixed where
turn 2 is paid (gamma = 0: a turn answers for itself).
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from amend.algo.base import Algorithm
from amend.algo.grpo import GRPO
from amend.algo.multi_turn import MultiTurn
from amend.algo.ppo import PPO
from amend.algo.reinforce import Reinforce
from amend.algo.rloo import RLOO
from amend.algo.score import SCoRe
from amend.algo.single_turn import SingleTurn
from amend.batch import Batch
from amend.explore.temperature import Constant
from amend.ops.credit import EPS
from amend.policy.model import Policy
from amend.types import Sampling
from toys import GRPO as GRPO_KNOBS
from toys import LOOP, SCORE, drift, handed, policy

ASK, AGAIN = [2, 5], [2, 6]  # <user> a, and <user> b: the question and the instruction
SPEAK = 3
HEAD = [*ASK, SPEAK]


def reward(y1: int, y2: int) -> tuple[float, float]:
    """An arbitrary but fixed table of right answers, turn 2's depending on turn 1's."""
    return float(y1 in (4, 5)), float((y2 + y1) % 3 == 0)


@pytest.fixture(scope="module")
def toy() -> Policy:
    return drift(policy().double())


def everything(toy: Policy) -> tuple[list[tuple[int, int]], Tensor]:
    """All 49 episodes (y1, y2) and their tokens [49 t]."""
    pairs = list(product(range(7), repeat=2))
    rows = [[*HEAD, y1, *AGAIN, SPEAK, y2] for y1, y2 in pairs]
    return pairs, torch.tensor(rows)


def masks(tokens: Tensor) -> tuple[Tensor, Tensor]:
    sampled = torch.zeros(tokens.shape, dtype=torch.bool)
    sampled[:, [3, 7]] = True
    return sampled, torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]).expand(tokens.shape)


def logps(toy: Policy, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """log pi(y1), log pi(y2 | y1), with gradients, straight from the model's own logits."""
    rows = toy.lm(input_ids=tokens).logits.log_softmax(-1)
    return rows[:, 2].gather(1, tokens[:, 3:4])[:, 0], rows[:, 6].gather(1, tokens[:, 7:8])[:, 0]


def expected_gradient(algorithm: Algorithm, toy: Policy) -> list[Tensor]:
    """The gradient of the algorithm's loss, expected over groups of two episodes drawn from the policy."""
    pairs, tokens = everything(toy)
    with torch.no_grad():
        one, two = logps(toy, tokens)
        chance = (one + two).exp()
        ref_rows = toy.reference_lm(input_ids=tokens).logits.log_softmax(-1)
    left, right = (index.reshape(-1) for index in torch.meshgrid(torch.arange(49), torch.arange(49), indexing="ij"))
    order = torch.stack([left, right], dim=1).reshape(-1)  # group g holds episodes 2g and 2g + 1
    weight = (chance[left] * chance[right]).repeat_interleave(2) / 2
    sampled, turn = masks(tokens[order])
    logp, ref_logp = torch.zeros(2, *sampled.shape, dtype=torch.float64)
    for at, value in ((3, one), (7, two)):
        logp[:, at] = value[order]
        ref_logp[:, at] = ref_rows[:, at - 1].gather(1, tokens[:, at : at + 1])[order, 0]
    batch = Batch(
        tokens=tokens[order], turn=turn, sampled=sampled, logp=logp, ref_logp=ref_logp,
        reward=torch.tensor([reward(*pairs[i]) for i in order], dtype=torch.float64),
        group=torch.arange(49 * 49).repeat_interleave(2),
        temperature=torch.ones_like(logp), along=torch.zeros_like(logp),
    )  # fmt: skip
    given, algorithm.pays_reference = batch.ref_logp, lambda: False  # type: ignore[method-assign]
    batch = algorithm.prepare(batch)
    del algorithm.pays_reference
    assert torch.equal(given, batch.ref_logp)
    credit = algorithm.credit(batch)
    out = toy(batch.tokens, batch.sampled, 1.0, reference=True)
    loss = (algorithm.loss(batch, credit, out).sum(dim=1) * weight).sum()
    return list(torch.autograd.grad(loss, list(toy.lm.parameters()), retain_graph=True))


def true_gradient(
    toy: Policy, w1: float, w2: float, alpha: float, k1: float, k2: float, whole: bool = False
) -> list[Tensor]:
    """-(w1 E[r1] + w2 E_sg(y1)[r2 + alpha (r2 - r1)]) + k1 KL(turn 1) + k2 E_sg(y1)[KL(turn 2)], differentiated.

    ``whole``: turn 1 also answers for turn 2 (gamma = 1), so y1's distribution is not held fixed.
    """
    pairs, tokens = everything(toy)
    one, two = logps(toy, tokens)
    r = torch.tensor([reward(*pair) for pair in pairs], dtype=torch.float64)
    with torch.no_grad():
        ref = toy.reference_lm(input_ids=tokens).logits.log_softmax(-1)
    visit = one.exp() if whole else one.detach().exp()
    gain = w1 * (one.exp() * two.detach().exp() * r[:, 0]).sum()
    gain = gain + w2 * (visit * two.exp() * (r[:, 1] + alpha * (r[:, 1] - r[:, 0]))).sum()
    rows = toy.lm(input_ids=tokens).logits.log_softmax(-1)
    first = (rows[0, 2].exp() * (rows[0, 2] - ref[0, 2])).sum()
    second = (rows[::7, 6].exp() * (rows[::7, 6] - ref[::7, 6])).sum(-1)  # one row a y1
    visits = one[::7].detach().exp()
    loss = -gain + k1 * first + k2 * (visits * second).sum()
    return list(torch.autograd.grad(loss, list(toy.lm.parameters())))


def score(toy: Policy, round_: int, **knobs: Any) -> SCoRe:
    algorithm = SCoRe(*handed(toy), **{**LOOP, **SCORE, **knobs})
    algorithm.round = round_
    return algorithm


def assert_same(got: list[Tensor], want: list[Tensor]) -> None:
    size = torch.cat([w.flatten() for w in want]).norm()
    assert size > 1e-3, "a zero gradient would prove nothing"
    gap = torch.cat([(g - w).flatten() for g, w in zip(got, want, strict=True)]).norm()
    assert gap < 1e-6 * size


@pytest.mark.parametrize("kl", ["exact", "k2", "k1_in_reward"])
@pytest.mark.parametrize("baseline", ["none", "problem", "context"])
def test_score_stage_one(toy: Policy, kl: str, baseline: str) -> None:
    """Eq. 3: turn 2's reward, turn 1 held with beta2, turn 2 with beta1; turn 1 is paid nothing."""
    got = expected_gradient(score(toy, 0, kl=kl, baseline=baseline), toy)
    assert_same(got, true_gradient(toy, w1=0, w2=1, alpha=0, k1=0.1, k2=0.01))


@pytest.mark.parametrize("kl", ["exact", "k2", "k1_in_reward"])
@pytest.mark.parametrize("baseline", ["none", "problem", "context"])
def test_score_stage_two(toy: Policy, kl: str, baseline: str) -> None:
    """Eq. 4: each turn its own reward, the bonus on turn 2 alone, both held with beta1. No baseline changes it."""
    got = expected_gradient(score(toy, 2, kl=kl, baseline=baseline), toy)
    assert_same(got, true_gradient(toy, w1=1, w2=1, alpha=10, k1=0.01, k2=0.01))


def test_score_without_shaping_is_plain_multi_turn(toy: Policy) -> None:
    got = expected_gradient(score(toy, 2, alpha=0.0), toy)
    assert_same(got, true_gradient(toy, w1=1, w2=1, alpha=0, k1=0.01, k2=0.01))


def test_score_with_discount_one_pays_turn_one_for_what_follows(toy: Policy) -> None:
    """gamma = 1 is the sandbagging variant: the bonus reaches turn 1, with the weight 1 - alpha on its own reward."""
    got = expected_gradient(score(toy, 2, gamma=1.0, beta1=0.0), toy)
    assert_same(got, true_gradient(toy, w1=1, w2=1, alpha=10, k1=0, k2=0, whole=True))


def test_the_context_baseline_lowers_the_variance(toy: Policy) -> None:
    """What is known when turn 2 begins is no news: counted as expected, the gradient's mean stays, its spread falls."""
    pairs, tokens = everything(toy)
    with torch.no_grad():
        chance = sum(logps(toy, tokens)).exp()
    spread = {}
    for baseline in ("problem", "context"):
        algorithm = score(toy, 2, baseline=baseline)
        index = torch.arange(49)
        left, right = index.repeat_interleave(49), index.repeat(49)
        rewards = torch.tensor([reward(*p) for p in pairs], dtype=torch.float64)
        order = torch.stack([left, right], dim=1).reshape(-1)
        sampled, turn = masks(tokens[order])
        zeros = torch.zeros(sampled.shape, dtype=torch.float64)
        groups = torch.arange(49 * 49).repeat_interleave(2)
        batch = Batch(tokens[order], turn, sampled, zeros, zeros, zeros + 1, zeros, rewards[order], groups)
        credit = algorithm.credit(batch)[:, 7]
        weight = (chance[left] * chance[right]).repeat_interleave(2) / 2
        spread[baseline] = float((weight * credit.square()).sum())
    assert spread["context"] < 0.75 * spread["problem"]


def test_grpo_without_standardisation_is_half_the_true_gradient(toy: Policy) -> None:
    """Biased by design: a group's own mean counts the episode itself, so of n = 2 samples (n - 1) / n of it is left."""
    knobs = {**GRPO_KNOBS, "standardize": False, "beta": 0.0}
    got = expected_gradient(GRPO(*handed(toy), **{**LOOP, **knobs}), toy)
    assert_same(got, [0.5 * g for g in true_gradient(toy, w1=1, w2=1, alpha=0, k1=0, k2=0)])


def test_grpo_with_standardisation_is_longer_still_in_the_same_direction(toy: Policy) -> None:
    """Biased by design: two samples that differ have deviation sqrt(1/2), so 1/2 becomes 1/2 / (sqrt(1/2) + 1e-4)."""
    knobs = {**GRPO_KNOBS, "beta": 0.0}
    got = expected_gradient(GRPO(*handed(toy), **{**LOOP, **knobs}), toy)
    factor = 0.5 / (0.5**0.5 + EPS)
    assert_same(got, [factor * g for g in true_gradient(toy, w1=1, w2=1, alpha=0, k1=0, k2=0)])


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_reinforce(toy: Policy, gamma: float) -> None:
    got = expected_gradient(Reinforce(*handed(toy), **LOOP, baseline="none", gamma=gamma, beta=0.05), toy)
    assert_same(got, true_gradient(toy, w1=1, w2=1, alpha=0, k1=0.05, k2=0.05, whole=gamma == 1))


def test_rloo_with_its_kl_in_the_reward(toy: Policy) -> None:
    """A reply is one action; the KL of its reply, inside the detached reward, has the KL's gradient in expectation."""
    got = expected_gradient(RLOO(*handed(toy), **LOOP, beta=0.05, clip_low=0.2, clip_high=0.2), toy)
    assert_same(got, true_gradient(toy, w1=1, w2=1, alpha=0, k1=0.05, k2=0.05))


def test_single_turn_never_touches_turn_two(toy: Policy) -> None:
    got = expected_gradient(SingleTurn(*handed(toy), **LOOP, beta=0.05), toy)
    assert_same(got, true_gradient(toy, w1=1, w2=0, alpha=0, k1=0.05, k2=0))


@pytest.mark.parametrize(("paid", "first"), [("all", 1), ("last", 0)])
def test_multi_turn(toy: Policy, paid: str, first: float) -> None:
    got = expected_gradient(MultiTurn(*handed(toy), **LOOP, beta=0.05, paid=paid, gamma=0.0), toy)
    assert_same(got, true_gradient(toy, w1=first, w2=1, alpha=0, k1=0.05, k2=0.05))


@pytest.mark.parametrize(("lam", "whole"), [(1.0, True), (0.0, False)])
def test_ppo_without_a_critic(toy: Policy, lam: float, whole: bool) -> None:
    """V = 0: with lambda 1 each token answers for all that follows, in the next turn too; with 0 for its own pay."""
    knobs = {"gamma": 1.0, "beta": 0.0, "clip_low": 0.2, "clip_high": 0.2, "value_weight": 0.0, "value_clip": 0.2}
    got = expected_gradient(PPO(*handed(toy), **LOOP, **knobs, lam=lam, whiten=False), toy)
    assert_same(got, true_gradient(toy, w1=1, w2=1, alpha=0, k1=0, k2=0, whole=whole))


def test_ppo_leans_on_its_critic_without_bias_at_lambda_one(toy: Policy) -> None:
    """Any V that does not know the token is a baseline: at gamma = lambda = 1 the expected gradient does not move."""
    knobs = {"gamma": 1.0, "beta": 0.0, "clip_low": 0.2, "clip_high": 0.2, "value_weight": 0.0, "value_clip": 0.2}
    made = PPO(*handed(toy), **LOOP, **knobs, lam=1.0, whiten=False)
    torch.nn.init.normal_(made.value.weight)
    assert_same(expected_gradient(made, toy), true_gradient(toy, w1=1, w2=1, alpha=0, k1=0, k2=0, whole=True))


def test_the_enumeration_would_notice_a_sign(toy: Policy) -> None:
    """The check can fail: the bonus taken from turn 2 instead of given to it is another gradient."""
    got = expected_gradient(score(toy, 2), toy)
    with pytest.raises(AssertionError):
        assert_same(got, true_gradient(toy, w1=1, w2=1, alpha=-10, k1=0.01, k2=0.01))


def test_temperature_of_the_loop_is_the_samplers(toy: Policy) -> None:
    made = score(toy, 0)
    made.explore = made.explore._replace(temperature=Constant(value=[0.7, 0.9]))
    assert made.how() == [Sampling(0.7, 2), Sampling(0.9, 2)]
