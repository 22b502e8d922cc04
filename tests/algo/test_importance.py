"""What an engine that draws from another policy than the trainer's costs, and what truncated weights give back.

By hand, by enumeration (the expected gradient is the true one), and in a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log
from typing import Any

import pytest
import torch
from jaxtyping import Float
from learners import build, gradient, run, weights
from scripted import ready
from torch import Tensor
from toys import LOOP, Silent, drift, episode, handed, policy, scored

from amend.algo.base import Algorithm
from amend.batch import Batch
from amend.ops.logprobs import TokenLogprobs
from amend.rollout.local import Local
from amend.types import Completion, SamplingParams, Scored, Tokens

SHARES = (1, 3, 2, 4, 2, 6, 2)  # of 20: what the engine draws each of the seven tokens with
PROMPT = [2, 5, 3]


class Plain(Algorithm):
    """The score function, credited with the reward."""

    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        return torch.where(batch.loss_mask, batch.reward[:, :1], 0.0)

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        return -advantages * out.logp


def capped(cap: float | None) -> Silent:
    play = Silent()
    play.importance_sampling_cap = cap
    return play


def drawn() -> list[Scored]:
    """Every token, as often as the engine draws it in twenty; token t is paid t^2."""
    found = []
    for token, share in enumerate(SHARES):
        for _ in range(share):
            one = scored(episode([(PROMPT, [token])], sample=len(found)), (token**2,))
            turn = one.episode.turns[0]
            reply = replace(turn.reply, logp=(log(share / 20),))
            found.append(replace(one, episode=replace(one.episode, turns=(replace(turn, reply=reply),))))
    return found


@pytest.mark.parametrize("cap", [None, 1e9, 1.5, 0.7])
def test_the_expected_gradient(cap: float | None) -> None:
    """sum_t min(pi_t, cap mu_t) r_t grad log pi_t: the true policy gradient if nothing is capped, mu's unweighted."""
    toy = drift(policy())
    made = ready(Plain(*handed(toy, capped(cap)), **{**LOOP, "lr": 0.0}))
    logits = toy.lm(torch.tensor([PROMPT])).logits[0, -1].float().log_softmax(-1)
    pi, mu, paid = logits.detach().exp(), torch.tensor(SHARES) / 20, torch.arange(7.0).square()
    often = mu if cap is None else torch.minimum(pi, cap * mu)
    wanted = torch.autograd.grad(-(often * paid * logits).sum(), list(toy.lm.parameters()))
    got = gradient(made, drawn())
    assert torch.allclose(got, torch.cat([g.flatten() for g in wanted]), atol=1e-4, rtol=1e-4)
    assert cap is None or cap < 1e9 or torch.allclose(often, pi)
    assert cap is None or cap > 1.5 or not torch.allclose(often, pi)  # the cap is felt


@pytest.mark.parametrize("max_tokens_per_micro_batch", [4, 4096])
def test_how_a_batch_is_cut_changes_no_weight(max_tokens_per_micro_batch: int) -> None:
    toy = drift(policy(max_tokens_per_micro_batch=max_tokens_per_micro_batch))
    batch = ready(Plain(*handed(toy, capped(1.5)), **LOOP)).make_batch(drawn())
    with torch.no_grad():
        pi = toy.lm(torch.tensor([PROMPT])).logits[0, -1].softmax(-1)
    for row, token in enumerate(batch.tokens[:, 3].tolist()):
        ratio = float(pi[token]) * 20 / SHARES[token]
        assert float(batch.extras["importance_weights"][row, 3]) == pytest.approx(min(ratio, 1.5), rel=1e-4)
        assert float(batch.old_logprobs[row, 3].exp()) == pytest.approx(float(pi[token]), rel=1e-4)
        assert float(batch.extras["sampling_logprobs"][row, 3].exp()) == pytest.approx(SHARES[token] / 20)
    assert torch.equal(batch.extras["importance_weights"][:, :3], torch.ones(20, 3))


class Beside(Local):
    """An engine a little beside the trainer: it draws at 1.3 times the temperature it was asked for, and says so."""

    def sample(
        self, prompts: Sequence[Tokens], sampling_params: SamplingParams, seeds: Sequence[tuple[int, ...]]
    ) -> list[Completion]:
        return super().sample(prompts, replace(sampling_params, temperature=1.3 * sampling_params.temperature), seeds)


def beside(name: str, cap: float | None, *overrides: str) -> Any:
    """A learner whose replies come from ``Beside``."""
    algorithm, task = build(name, *overrides, cold=False)
    engine = Beside(algorithm.policy, max_batch_size=256, compaction_threshold=0.25)
    engine.importance_sampling_cap = cap
    algorithm.runner._engine = engine
    return algorithm, run(algorithm, task, 2)


ON_POLICY = ["reinforce", "rloo", "grpo", "ppo", "single_turn", "multi_turn", "score"]


@pytest.mark.parametrize("name", ON_POLICY)
def test_the_cap_acts_on_every_learner_from_its_own_replies(name: str) -> None:
    """It changes the weights that are learnt; the gap is the engine's with it and without it."""
    short = ["algo.max_tokens=3", "algo.num_iterations=4", *(["algo.stage1_iterations=1"] if name == "score" else [])]
    without, bare = beside(name, None, *short)
    within, lines = beside(name, 1.2, *short)
    assert not torch.equal(weights(without), weights(within))
    assert bare[0]["sampling/logp_difference"] > 0.01 and lines[0]["sampling/logp_difference"] == pytest.approx(
        bare[0]["sampling/logp_difference"], rel=1e-3
    )
    assert "sampling/importance_ratio" not in bare[0] and 0.5 < lines[0]["sampling/importance_ratio"] < 1.2


def test_an_engine_that_computes_what_the_trainer_does_has_weights_of_one() -> None:
    """And learns what it learns without them."""
    found = []
    for cap in (None, 2.0):
        algorithm, task = build("grpo", "algo.num_minibatches=4", "algo.max_tokens=3", cold=False)
        algorithm.runner._engine.importance_sampling_cap = cap
        lines = run(algorithm, task, 1)
        found.append(weights(algorithm))
    assert lines[0]["sampling/importance_ratio"] == pytest.approx(1.0, abs=1e-5)
    assert torch.allclose(found[0], found[1], atol=1e-5)


def test_what_is_clipped_in_later_updates_is_measured_from_the_policy_that_began_the_round() -> None:
    """pi_t over the trainer's own log-probability, not over the engine's: that ratio is the weight's already."""
    toy = drift(policy())
    made = ready(Plain(*handed(toy, capped(1e9)), **LOOP))
    batch = made.make_batch(drawn())
    with torch.no_grad():
        out = toy(batch.tokens, batch.loss_mask, batch.temperature, reference=False)
    assert torch.allclose((out.logp - batch.old_logprobs).exp(), torch.ones_like(out.logp), atol=1e-5)
    both = batch.extras["importance_weights"] * (out.logp - batch.old_logprobs).exp()
    assert torch.allclose(both, (out.logp - batch.extras["sampling_logprobs"]).exp(), atol=1e-4)
    assert exp(float(batch.extras["sampling_logprobs"][0, 3])) == pytest.approx(1 / 20)
