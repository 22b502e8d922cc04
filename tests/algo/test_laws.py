"""What no single formula shows: streams, clocks, bills and bookkeeping, each held by the fault it would let through.

The faults are those of ``tests/mutation``; a test is here where no other file has a place for it.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from jaxtyping import Float
from scripted import Stage, always, ready, stage, weights
from torch import Tensor
from toys import GRPO as GRPO_KNOBS
from toys import LOOP, SCORE, drift, episode, handed, policy, problem, scored

from amend.algo.base import Algorithm
from amend.algo.gradient_update import seeded_generator
from amend.algo.grpo import GRPO
from amend.algo.score import SCoRe
from amend.batch import Batch, collate
from amend.dialogue import SelfCorrect
from amend.exploration.prefill import PartialSolution
from amend.exploration.temperature import Anneal, Constant
from amend.ops import logprobs as module
from amend.ops.logprobs import TokenLogprobs
from amend.policy.policy import end_tokens
from amend.types import Completion, Episode, SamplingParams, Scored, Turn


class Plain(Algorithm):
    """Every token is credited with its own number, so that credit tells whose it is; and the score function."""

    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        return torch.where(batch.loss_mask, batch.tokens.to(batch.old_logprobs.dtype), 0.0)

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        return -advantages * out.logp


def learner(made: Stage, seed: int = 0, **knobs: Any) -> Any:
    return ready(Plain(*handed(made.policy, made.runner, made.reward, seed=seed), **{**LOOP, **knobs}))


def rows(count: int) -> list[Scored]:
    """Episodes of one drawn token, 4, 5, 6, 7, ... after prompts of one token more each."""
    return [scored(episode([([2] * (i + 1), [4 + i])], name=f"p{i}"), (1.0,)) for i in range(count)]


# law 2: what is trained ----------------------------------------------------------------------------------------------


def test_a_reply_that_was_handed_in_is_context() -> None:
    """Not sampled, no log-probability, read at temperature 1; the drawn reply after it is as it was drawn."""
    given = Turn((2,), Completion((5, 4), (-7.0, -7.0), "a", "end"), is_trained=False, temperature=0.3)
    drawn = Turn((2, 5, 4, 2), Completion((6, 4), (-1.0, -2.0), "b", "end"), temperature=0.6)
    greedy = Turn((2, 5, 4, 2, 6, 4, 2), Completion((4,), (-0.5,), "", "end"), temperature=0.0)
    batch = collate([scored(Episode(problem(), 0, (given, drawn, greedy)), (0.0, 1.0, 0.0))])
    assert batch.loss_mask[0].tolist() == [False, False, False, False, True, True, False, True]
    assert batch.old_logprobs[0].tolist() == [0, 0, 0, 0, -1, -2, 0, -0.5]
    assert torch.allclose(batch.temperature[0], torch.tensor([1.0, 1.0, 1.0, 1.0, 0.6, 0.6, 1.0, 1.0]))


@pytest.mark.parametrize(("configured", "ends"), [([5, 6], (5, 6, 4)), (5, (5, 4)), (None, (4,)), ([4, 6], (4, 6))])
def test_every_token_that_ends_a_reply_is_known(configured: Any, ends: tuple[int, ...]) -> None:
    """Those of the generation config, in its order, then the tokenizer's, each once."""
    toy = policy()
    toy.lm.generation_config.eos_token_id = configured
    assert end_tokens(toy.lm, toy.tokenizer) == ends


# law 3: temperature --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [module.MAX_LOGITS, 2 * 7])
def test_each_token_is_read_at_its_own_temperature_by_policy_and_reference(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against both models' own logits, divided position by position; all at once, and two positions at a time."""
    monkeypatch.setattr(module, "MAX_LOGITS", chunk)
    toy = drift(policy())
    tokens, heat = torch.tensor([[2, 5, 6, 5, 4, 6]]), torch.tensor([[1.0, 0.5, 0.7, 1.0, 1.5, 3.0]])
    loss_mask = torch.tensor([[False, True, True, False, True, True]])
    with torch.no_grad():
        out = toy(tokens, loss_mask, heat, reference=True)
        own, ref = (
            (lm(input_ids=tokens).logits[:, :-1] / heat[:, 1:, None]).log_softmax(-1)
            for lm in (toy.lm, toy.reference_lm)
        )
    for at in (1, 2, 4, 5):
        token = tokens[0, at]
        assert torch.allclose(out.logp[0, at], own[0, at - 1, token], atol=1e-5)
        assert torch.allclose(out.ref_logp[0, at], ref[0, at - 1, token], atol=1e-5)
        kl = (own[0, at - 1].exp() * (own[0, at - 1] - ref[0, at - 1])).sum()
        assert torch.allclose(out.kl[0, at], kl, atol=1e-5)


def test_each_turn_is_drawn_as_it_was_asked_to_be_and_remembers_it() -> None:
    house = stage(always("0"), dialogue=SelfCorrect(turns=3, instruction="Again."))
    sampling_params = [SamplingParams(0.3, 5), SamplingParams(0.6, 6), SamplingParams(0.9, 7)]
    (one,) = house.runner(house.problems(1), 1, sampling_params, (0, 0))
    assert house.engine.sampling_params == sampling_params
    assert [turn.temperature for turn in one.turns] == [0.3, 0.6, 0.9]


def test_the_temperature_follows_the_run() -> None:
    """Two of four rounds are over: half way from 1 to 0.5 in turn 1, and from 1 to 2 in turn 2."""
    made = learner(stage(always("0")))
    made.exploration = made.exploration._replace(
        temperature=Anneal(start=[1.0], end=[0.5, 2.0], schedule="linear", anneal_fraction=1.0)
    )
    made.iteration = 2
    assert made.sampling_params() == [SamplingParams(0.75, 2), SamplingParams(1.5, 2)]


# law 7: streams ------------------------------------------------------------------------------------------------------


def test_every_reply_has_a_stream_of_its_own() -> None:
    """Two rounds under two seeds, of two problems, two samples and two turns: 32 replies, no seed twice."""
    house = stage(always("0"))
    for seed in (0, 1):
        made = learner(house, seed=seed, group_size=2)
        for made.iteration in (0, 1):
            made.episodes(house.problems(2))
    assert len(house.engine.seeds) == len(set(house.engine.seeds)) == 32
    assert {seed[:2] for seed in house.engine.seeds} == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_minibatches_are_shuffled_by_seed_round_and_epoch_and_by_nothing_else() -> None:
    """Disjoint and whole each time; the same again for the same clock."""
    house, batch = stage(always("0")), collate(rows(12))

    def order(seed: int, round_: int, epoch: int) -> list[list[int]]:
        made = learner(house, seed=seed)
        made.iteration = round_
        return [part.tolist() for part in made.minibatches(batch, 3, epoch)]

    orders = [order(seed, round_, epoch) for seed in (0, 1) for round_ in (0, 1) for epoch in (0, 1)]
    assert all(sorted(i for part in one for i in part) == list(range(12)) for one in orders)
    assert all([len(part) for part in one] == [4, 4, 4] for one in orders)
    assert len({str(one) for one in orders}) == 8
    assert order(1, 0, 1) == order(1, 0, 1)


# law 4: the update ---------------------------------------------------------------------------------------------------


def test_a_minibatch_has_the_credit_of_its_own_rows() -> None:
    made, seen = learner(stage(always("0")), num_minibatches=3), []

    def accumulate(batch: Batch, advantages: Tensor) -> dict[str, float]:
        width = batch.tokens.shape[1]
        seen.append(torch.equal(advantages[:, :width][batch.loss_mask], batch.tokens[batch.loss_mask].float()))
        return {"loss": 0.0}

    made.accumulate = accumulate
    made.update(rows(7))
    assert seen == [True] * 3


def test_a_step_knows_nothing_of_the_gradients_before_it() -> None:
    """At a learning rate of zero each of three passes has the gradient of the first, and is as long."""
    once, thrice = (learner(stage(always("0")), lr=0.0, update_epochs=epochs) for epochs in (1, 3))
    first = once.update(rows(3))["grad_norm"]
    assert thrice.update(rows(3))["grad_norm"] == pytest.approx(first)
    assert first > 0


def test_a_gradient_is_as_long_as_it_may_be() -> None:
    """And is reported as long as it was."""
    made = learner(stage(always("0")), max_grad_norm=0.125)
    assert made.update(rows(3))["grad_norm"] > 0.25
    left = torch.cat([w.grad.flatten() for w in made.parameters() if w.grad is not None])
    assert float(left.norm()) == pytest.approx(0.125, rel=1e-3)


def test_the_learning_rate_rises_from_the_optimizers_first_step() -> None:
    """A quarter, a half, three quarters, all, all; and from the first again after a restart. Adam's first step is as
    long as its learning rate, for each weight that has a gradient."""
    made = learner(stage(always("0")), warmup_steps=4, lr=0.01)
    rates = []
    for _ in range(5):
        made.update(rows(3))
        rates.append(made.optimizers().param_groups[0]["lr"])
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01])
    made.reset_to_base()
    before = torch.cat([w.detach().flatten().clone() for w in made.parameters() if w.requires_grad])
    made.update(rows(3))
    moved = torch.cat([w.detach().flatten() for w in made.parameters() if w.requires_grad]) - before
    assert float(moved.abs().max()) == pytest.approx(0.0025, rel=1e-2)


def test_weights_decay_apart_from_the_gradient() -> None:
    """By lr x weight_decay of themselves in a step, beside what the same step takes without."""
    after = []
    for decay in (0.0, 0.5):
        made = learner(stage(always("0")), weight_decay=decay, lr=0.01)
        before = torch.cat([w.detach().flatten().clone() for w in made.parameters() if w.requires_grad])
        made.update(rows(3))
        after.append(torch.cat([w.detach().flatten() for w in made.parameters() if w.requires_grad]))
    assert torch.allclose(after[1], after[0] - 0.01 * 0.5 * before, atol=1e-6)


# the clock and the bill ----------------------------------------------------------------------------------------------


def test_the_bill_adds_up_over_rounds() -> None:
    """Two rounds of two problems, four samples and two turns; a reply is its symbol and the end token."""
    house = stage(always("0"))
    made = learner(house)
    for _ in range(2):
        made.training_step(house.problems(2), 0)
    assert made.counters == {"sampled_tokens": 2 * 16 * 2, "episodes": 2 * 8, "optimizer_steps": 2}
    assert made.record["episodes"] == 16 and made.iteration == 2


def test_a_checkpoint_brings_back_where_starts_had_come_to() -> None:
    house, levers = stage(always("0")), {"threshold": 0.5, "window": 4, "mix": 0.0}
    one, two = learner(house), learner(house)
    for made in (one, two):
        made.exploration = made.exploration._replace(
            prefill=PartialSolution(**levers), temperature=Constant(value=[1.0])
        )
    one.exploration.prefill.load_state_dict({"left": {"Toy": 3}, "recent": {"Toy": [True, False]}})
    checkpoint: dict[str, Any] = {}
    one.on_save_checkpoint(checkpoint)
    two.on_load_checkpoint(checkpoint)
    assert two.exploration.prefill.state_dict() == {"left": {"Toy": 3}, "recent": {"Toy": [True, False]}}


# what two stages and skipped groups need -----------------------------------------------------------------------------


@pytest.mark.parametrize(("reference", "moves"), [("base", []), ("previous", [2])])
def test_the_reference_moves_between_the_stages_or_not_at_all(reference: str, moves: list[int]) -> None:
    """Two rounds of Stage I, three of Stage II: at most once, and to where Stage I ended."""
    made = ready(SCoRe(*handed(policy()), **{**LOOP, **SCORE, "reference": reference, "lr": 0.1}))
    two_turns = [scored(episode([([2], [5]), ([2], [4 + i])], sample=i), (float(i), 1.0 - i)) for i in range(2)]
    moved = []
    for made.iteration in range(5):
        began = weights(made)
        before = torch.cat([w.flatten() for w in made.policy.reference_lm.parameters()])
        made.update(two_turns)
        after = torch.cat([w.flatten() for w in made.policy.reference_lm.parameters()])
        if not torch.equal(before, after):
            moved.append(made.iteration)
            assert torch.equal(after, began)
    assert moved == moves


def test_a_resumed_run_has_the_beta2_it_reached() -> None:
    one, two = (SCoRe(*handed(policy()), **{**LOOP, **SCORE}) for _ in range(2))
    one.beta2_now = 3.5
    checkpoint: dict[str, Any] = {}
    one.on_save_checkpoint(checkpoint)
    two.on_load_checkpoint(checkpoint)
    assert two.beta2_now == 3.5


def test_skipping_equal_groups_keeps_the_others() -> None:
    """Of three problems the second was answered both ways; where none was, all stay."""
    pairs = [("p", (1.0, 1.0)), ("q", (0.0, 1.0)), ("r", (0.0, 0.0))]
    made = GRPO(*handed(policy()), **{**LOOP, **GRPO_KNOBS, "remove_constant_reward_groups": True})
    found = [scored(episode([([2], [5])], name, i), (r,)) for name, rs in pairs for i, r in enumerate(rs)]
    left = made.prepare(collate(found))
    assert left.group_id.tolist() == [1, 1] and left.reward[:, 0].tolist() == [0, 1]
    assert len(made.prepare(collate(found[:2]))) == 2


def test_a_stream_of_random_numbers_is_its_seeds_and_its_keys() -> None:
    """numpy's SeedSequence mixes them: nearby and nested keys give other permutations, equal ones the same."""
    keys = [(0,), (1,), (0, 0), (0, 1), (0, 0, 0), (0, 17), (17, 0)]
    found = {key: tuple(torch.randperm(12, generator=seeded_generator(*key)).tolist()) for key in keys}
    assert len(set(found.values())) == len(keys)
    assert all(found[key] == tuple(torch.randperm(12, generator=seeded_generator(*key)).tolist()) for key in keys)
