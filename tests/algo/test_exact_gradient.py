"""The expected gradient of every policy-gradient algorithm, by enumeration, against the true one of its objective.

``enumerated`` has every conversation of a tiny policy, with one token a reply and with two. An objective is written
down from its paper and differentiated: with gamma = 0 a turn answers for itself, and what was said before it is held
fixed. Two kinds of KL are told apart: of each token, given what is before it (a loss), and of a whole reply, in which a
token also answers for those it leads to (inside the reward). What is biased by design is in ``test_biased_gradient``.
"""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from enumerated import Gradient, World, close, even, expected, ragged, short
from torch import Tensor
from toys import LOOP, SCORE, handed

from amend.algo.multi_turn import MultiTurn
from amend.algo.ppo import PPO
from amend.algo.reinforce import Reinforce
from amend.algo.rloo import RLOO
from amend.algo.score import SCoRe
from amend.algo.single_turn import SingleTurn
from amend.exploration.temperature import Constant
from amend.types import SamplingParams

WORLDS = {"one token": short, "one or two": ragged}
KNOBS = {
    "gamma": 1.0,
    "kl_coef": 0.0,
    "clip_ratio_low": 0.2,
    "clip_ratio_high": 0.2,
    "vf_coef": 0.0,
    "clip_range_vf": 0.2,
}


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> World:
    return WORLDS[request.param]()


def true_gradient(
    world: World,
    w1: float,
    w2: float,
    alpha: float = 0.0,
    k1: float = 0.0,
    k2: float = 0.0,
    whole: bool = False,
    kl: Literal["token", "reply", "both replies"] = "token",
) -> Gradient:
    """-(w1 E[r1] + w2 E_sg(y1)[r2 + alpha (r2 - r1)]) + k1 KL(turn 1) + k2 E_sg(y1)[KL(turn 2)], differentiated.

    whole: turn 1 also answers for turn 2 (gamma = 1), so y1's distribution is not held fixed
    kl:    of each token, of each reply, or of the two as one
    """
    logp, ref = world.logp(), world.logp(reference=True).detach()
    one, two = world.turns(logp).T
    away = world.turns(logp - ref)
    visit = one.exp() if whole else one.detach().exp()
    gain = w1 * (one.exp() * two.detach().exp() * world.correct[:, 0]).sum()
    gain = (
        gain
        + w2 * (visit * two.exp() * (world.correct[:, 1] + alpha * (world.correct[:, 1] - world.correct[:, 0]))).sum()
    )
    betas = torch.tensor([k1, k2], dtype=torch.float64)
    if kl == "token":
        rows, ref_rows = world.rows(), world.rows(reference=True).detach()
        exact = (rows.exp() * (rows - ref_rows)).sum(-1)
        held = (world.chance[:, None] * world.spread(betas.expand_as(away)) * exact).sum()
    elif kl == "reply":
        held = k1 * (one.exp() * two.detach().exp() * away[:, 0]).sum()
        held = held + k2 * (one.detach().exp() * two.exp() * away[:, 1]).sum()
    else:
        held = ((one + two).exp() * (away * betas).sum(1)).sum()
    return world.descent(gain - held)


def score(world: World, round_: int, **knobs: Any) -> SCoRe:
    algorithm = SCoRe(*handed(world.policy), **{**LOOP, **SCORE, **knobs})
    algorithm.iteration = round_
    return algorithm


@pytest.mark.parametrize(
    ("kl", "baseline"),
    [("exact", "none"), ("exact", "problem"), ("exact", "context"), ("k2", "problem"), ("k1_in_reward", "context")],
)
@pytest.mark.parametrize(
    ("round_", "objective"),
    [
        (0, {"w1": 0, "w2": 1, "k1": 0.1, "k2": 0.01}),
        (2, {"w1": 1, "w2": 1, "alpha": 10, "k1": 0.01, "k2": 0.01}),
    ],
    ids=["stage one", "stage two"],
)
def test_score(world: World, kl: str, baseline: str, round_: int, objective: dict[str, float]) -> None:
    """Eq. 3: turn 2's reward, turn 1 held with beta2 and paid nothing, turn 2 held with beta1. Eq. 4: each turn its own
    reward, the bonus on turn 2 alone, both held with beta1. No baseline changes either; inside the reward the KL is
    that of whole replies."""
    got = expected(score(world, round_, kl=kl, baseline=baseline), world)
    assert close(got, true_gradient(world, **objective, kl="reply" if kl == "k1_in_reward" else "token"))


@pytest.mark.parametrize(("round_", "w1", "alpha", "k1"), [(0, 0, 0, 0.1), (2, 1, 10, 0.01)])
def test_score_against_the_batch(world: World, round_: int, w1: float, alpha: float, k1: float) -> None:
    """Two episodes of different problems, each held against the other."""
    got = expected(score(world, round_, baseline="batch"), world, apart=True)
    assert close(got, true_gradient(world, w1=w1, w2=1, alpha=alpha, k1=k1, k2=0.01))


def test_score_without_shaping_is_plain_multi_turn(world: World) -> None:
    got = expected(score(world, 2, shaping_coef=0.0), world)
    assert close(got, true_gradient(world, w1=1, w2=1, k1=0.01, k2=0.01))


def test_score_with_discount_one_pays_turn_one_for_what_follows(world: World) -> None:
    """gamma = 1 is the sandbagging variant: the bonus reaches turn 1, with the weight 1 - alpha on its own reward."""
    got = expected(score(world, 2, gamma=1.0, beta1=0.0), world)
    assert close(got, true_gradient(world, w1=1, w2=1, alpha=10, whole=True))


def test_the_context_baseline_lowers_the_variance() -> None:
    """What is known when turn 2 begins is no news: counted as expected, the gradient's mean stays, its spread falls."""
    world, spread = short(), {}
    order = torch.cartesian_prod(torch.arange(49), torch.arange(49)).flatten()
    batch = world.batch.rows(order)
    batch.group_id.copy_(torch.arange(49 * 49).repeat_interleave(2))
    weight = (world.chance[order[::2]] * world.chance[order[1::2]]).repeat_interleave(2) / 2
    for baseline in ("problem", "context"):
        advantages = score(world, 2, baseline=baseline).advantages(batch)[:, 7]
        spread[baseline] = float((weight * advantages.square()).sum())
    assert spread["context"] < 0.75 * spread["problem"]


@pytest.mark.parametrize("gamma", [0.0, 1.0])
@pytest.mark.parametrize("baseline", ["none", "batch"])
def test_reinforce(world: World, gamma: float, baseline: str) -> None:
    made = Reinforce(*handed(world.policy), **LOOP, baseline=baseline, gamma=gamma, kl_coef=0.05)
    got = expected(made, world, apart=baseline == "batch")
    assert close(got, true_gradient(world, w1=1, w2=1, k1=0.05, k2=0.05, whole=gamma == 1))


@pytest.mark.parametrize("updates", [1, 2])
def test_rloo_with_its_kl_in_the_reward(world: World, updates: int) -> None:
    """A reply is one action; the KL of its reply, inside the detached reward, has the KL's gradient in expectation. The
    ratio of a first update is one, whether it is written down or not."""
    loop = {**LOOP, "optimizer_steps": updates}
    got = expected(RLOO(*handed(world.policy), **loop, kl_coef=0.05, clip_ratio_low=0.2, clip_ratio_high=0.2), world)
    assert close(got, true_gradient(world, w1=1, w2=1, k1=0.05, k2=0.05, kl="reply"))


def test_single_turn_never_touches_turn_two(world: World) -> None:
    got = expected(SingleTurn(*handed(world.policy), **LOOP, kl_coef=0.05), world)
    assert close(got, true_gradient(world, w1=1, w2=0, k1=0.05))


@pytest.mark.parametrize(("reward_turns", "first"), [("all", 1), ("last", 0)])
@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_multi_turn(world: World, reward_turns: str, first: float, gamma: float) -> None:
    got = expected(
        MultiTurn(*handed(world.policy), **LOOP, kl_coef=0.05, reward_turns=reward_turns, gamma=gamma), world
    )
    assert close(got, true_gradient(world, w1=first, w2=1, k1=0.05, k2=0.05, whole=gamma == 1))


# PPO's loss is a mean over a minibatch's tokens: of two conversations of n tokens each, 1 / n of the true gradient.


def ppo(world: World, **knobs: Any) -> PPO:
    return PPO(*handed(world.policy), **{**LOOP, **KNOBS, "gae_lambda": 1.0, "normalize_advantage": False, **knobs})


@pytest.mark.parametrize(("make", "n"), [(short, 2), (even, 3)])
@pytest.mark.parametrize("beta", [0.0, 0.05])
@pytest.mark.parametrize("critic", [False, True])
def test_ppo_at_lambda_one(make: Any, n: int, beta: float, critic: bool) -> None:
    """Each token answers for all that follows, in the next turn too: for its KL as for its reward. Any V that does not
    know the token is a baseline: it does not move the expected gradient."""
    world = make()
    made = ppo(world, kl_coef=beta)
    if critic:
        torch.nn.init.constant_(made.value.weight, 0.1)
    want = true_gradient(world, w1=1, w2=1, k1=beta, k2=beta, whole=True, kl="both replies")
    assert close(expected(made, world), want, 1 / n)


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_ppo_with_the_true_critic_at_any_lambda(lam: float) -> None:
    """Where V is what is really to be expected before each token, GAE has no bias: within a turn and across the two."""
    world = even()
    want = true_gradient(world, w1=1, w2=1, whole=True)
    assert close(expected(ppo(world, gae_lambda=lam), world, values=to_come(world)), want, 1 / 3)


def to_come(world: World) -> Tensor:
    """E[what is still paid | all tokens before this one], at each drawn token, [e t]."""
    found = torch.zeros_like(world.batch.old_logprobs)
    left = world.correct[:, :1] * (world.batch.turn == 0) + world.correct[:, 1:]
    for t in range(found.shape[1]):
        alike = (world.batch.tokens[:, None, :t] == world.batch.tokens[None, :, :t]).all(-1).double() * world.chance
        found[:, t] = alike @ left[:, t] / alike.sum(1)
    return torch.where(world.batch.loss_mask, found, 0.0)


def test_ppo_at_lambda_zero_without_a_critic_pays_a_token_for_itself() -> None:
    got = expected(ppo(short(), gae_lambda=0.0, kl_coef=0.05), short())
    assert close(got, true_gradient(short(), w1=1, w2=1, k1=0.05, k2=0.05), 1 / 2)


def test_the_enumeration_would_notice(world: World) -> None:
    """The check can fail: the bonus taken from turn 2 instead of given to it, a token's KL for a reply's, or a hair."""
    got = expected(score(world, 2), world)
    assert not close(got, true_gradient(world, w1=1, w2=1, alpha=-10, k1=0.01, k2=0.01))
    assert not close(got, true_gradient(world, w1=1, w2=1, alpha=10, k1=0.01, k2=0.01), 1.0001)
    tokens, replies = (true_gradient(ragged(), w1=0, w2=0, k1=1, k2=1, kl=kl) for kl in ("token", "reply"))
    assert not close(tokens, replies)


def test_temperature_of_the_loop_is_the_samplers() -> None:
    made = score(short(), 0)
    made.exploration = made.exploration._replace(temperature=Constant(value=[0.7, 0.9]))
    assert made.sampling_params() == [SamplingParams(0.7, 2), SamplingParams(0.9, 2)]
