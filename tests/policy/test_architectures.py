"""Laws 2 to 4 on small random models of every family in conf/policy, all weights or a low-rank update trained:
tokens drawn are tokens trained; the sampler's log-probability is the trainer's, alone, batched and padded; gradients
depend neither on the micro-batch nor on padding. Windows, capped scores, absolute positions, several end tokens: all
are in here."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from architectures import ARCHITECTURES, KINDS, batch_of, lora, moved, played, policy
from learners import gradient
from scripted import ready
from toys import LOOP, handed, scored

from amend.algo.multi_turn import MultiTurn
from amend.errors import UserError
from amend.policy.policy import Policy
from amend.rollout.hf import HF
from amend.task.identity import Identity
from amend.types import Episode, SamplingParams

HEAT = {"0.6": 0.6, "1": 1.0, "1.5": 1.5}
BOTH = [(name, way) for name in ARCHITECTURES for way in ("full", "lora")]


@cache
def toy(name: str, way: str) -> Policy:
    return moved(policy(name, lora() if way == "lora" else None))


@pytest.mark.parametrize(("name", "way"), BOTH)
def test_tokens_drawn_are_tokens_trained(name: str, way: str) -> None:
    made = toy(name, way)
    episodes = played(made)
    batch = batch_of(episodes)
    assert any(e.turns[0].reply.stop == "length" for e in episodes), "no reply was cut: the test shows little"
    for i, episode in enumerate(episodes):
        first, second = episode.turns
        assert second.prompt[: len(first.prompt) + len(first.reply.tokens)] == first.prompt + first.reply.tokens
        drawn = batch.tokens[i][batch.loss_mask[i]].tolist()
        assert drawn == [*first.reply.tokens, *second.reply.tokens]
        for turn in episode.turns:
            assert not set(turn.reply.tokens[:-1]) & set(made.ends)
            assert (turn.reply.tokens[-1] in made.ends) == (turn.reply.stop == "end")


@pytest.mark.parametrize("heat", HEAT)
@pytest.mark.parametrize(("name", "way"), BOTH)
def test_the_samplers_log_probability_is_the_trainers(name: str, way: str, heat: str) -> None:
    made = toy(name, way)
    batch = batch_of(played(made, HEAT[heat]))
    width = batch.tokens.shape[1]
    padded = torch.nn.functional.pad(batch.tokens, (0, 9), value=made.ends[0])
    hidden = torch.nn.functional.pad(batch.loss_mask, (0, 9))
    with torch.no_grad():
        together = made.logprobs(batch.tokens, batch.loss_mask, HEAT[heat])
        wide = made.logprobs(padded, hidden, HEAT[heat])[:, :width]
        for i in range(len(batch)):
            length = int((batch.turn[i] >= 0).sum())
            row = slice(i, i + 1)
            alone = made.logprobs(batch.tokens[row, :length], batch.loss_mask[row, :length], HEAT[heat])[0]
            for value in (together[i, :length], wide[i, :length], batch.old_logprobs[i, :length]):
                assert torch.allclose(value, alone, atol=3e-4), (value - alone).abs().max()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_models_own_forward_says_the_same(name: str) -> None:
    """Not only do both sides agree: they agree with transformers, on the ids alone."""
    made = toy(name, "full")
    batch = batch_of(played(made))
    with torch.no_grad():
        ours = made.logprobs(batch.tokens, batch.loss_mask, 1.0)
        for i in range(len(batch)):
            length = int((batch.turn[i] >= 0).sum())
            rows = made.lm(input_ids=batch.tokens[i : i + 1, :length]).logits[0].log_softmax(-1)
            for at in batch.loss_mask[i].nonzero()[:, 0].tolist():
                assert torch.allclose(ours[i, at], rows[at - 1, batch.tokens[i, at]], atol=3e-4)


@pytest.mark.parametrize(("name", "way"), BOTH)
def test_so_is_that_of_transformers_own_batching(name: str, way: str) -> None:
    """The engine for GPUs on the same prompts, of both turns and of uneven lengths: pages, windows, adapters."""
    made = toy(name, way)
    prompts = [turn.prompt for episode in played(made) for turn in episode.turns]
    engine, sampling_params = HF(made, max_batch_size=64, importance_sampling_cap=None), SamplingParams(1.0, 12)
    seeds = [(5, i) for i in range(len(prompts))]
    if name == "gemma2":  # its scores would be left uncapped, and its replies be another model's
        with pytest.raises(UserError, match="rollout=hf: gemma2 caps its attention scores"):
            engine.sample(prompts, sampling_params, seeds)
        return
    for prompt, reply in zip(prompts, engine.sample(prompts, sampling_params, seeds), strict=True):
        tokens = torch.tensor([prompt + reply.tokens])
        loss_mask = torch.arange(tokens.shape[1])[None] >= len(prompt)
        with torch.no_grad():
            read = made.logprobs(tokens, loss_mask, 1.0)[0, len(prompt) :]
        assert torch.allclose(torch.tensor(reply.logp), read, atol=3e-4), (torch.tensor(reply.logp) - read).abs().max()


def gradient_of(
    name: str, way: str, episodes: list[Episode], max_tokens_per_micro_batch: int, **more: Any
) -> torch.Tensor:
    made = moved(policy(name, lora() if way == "lora" else None, max_tokens_per_micro_batch, **more))
    learner = ready(MultiTurn(*handed(made), **LOOP, kl_coef=0.1, reward_turns="all", gamma=0.0))
    learner.parameters = made.lm.parameters  # what is clipped: the policy, frozen weights left out below
    trained = [weights for weights in made.lm.parameters() if weights.requires_grad]
    learner.parameters = lambda recurse=True: iter(trained)
    return gradient(learner, [scored(e, [1.0 - i % 2, i % 3 / 2]) for i, e in enumerate(episodes)])


@pytest.mark.parametrize(("name", "way"), BOTH)
def test_no_gradient_depends_on_the_micro_batch_or_on_checkpointing(name: str, way: str) -> None:
    episodes = played(toy(name, way))
    whole = gradient_of(name, way, episodes, 100_000)
    assert whole.abs().max() > 0
    alone = gradient_of(name, way, episodes, 1)
    again = gradient_of(name, way, episodes, 200, gradient_checkpointing=True)
    for other in (alone, again):
        assert torch.allclose(other, whole, atol=2e-4 * float(whole.abs().max()))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_checkpointing_computes_layers_again_and_leaves_the_sampler_alone(name: str) -> None:
    made = policy(name, gradient_checkpointing=True)
    calls: list[int] = []
    layer = next(module for module in made._layers)
    inner = next(
        module
        for module in layer.modules()
        if isinstance(module, torch.nn.LayerNorm) or "Norm" in type(module).__name__
    )
    inner.register_forward_hook(lambda *_: calls.append(1))
    batch = batch_of(played(made))
    loss_mask = len(calls)
    loss = made.logprobs(batch.tokens, batch.loss_mask, 1.0).sum()
    forward = len(calls) - loss_mask
    loss.backward()
    assert len(calls) - loss_mask == 2 * forward, "nothing was computed again"
    assert not any(layer.training for layer in made._layers)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_family_ends_where_its_template_ends(name: str) -> None:
    made = toy(name, "full")
    ended = made.renderer.render_complete_reply("5 and 7")[-1]
    assert ended in made.ends
    if name == "gemma2":  # its tokenizer's end token is <eos>; its template ends replies with <end_of_turn>
        assert made.tokenizer.convert_ids_to_tokens(ended) == "<end_of_turn>"
        assert len(made.ends) == 2
    begin = KINDS[name].begin
    opening = made.renderer.build_generation_prompt(
        Identity(symbols=4, test=4).render_prompt(Identity(symbols=4, test=4).problems("test")[0])
    )
    assert [made.tokenizer.decode([token]) for token in opening].count(begin or "no such token") == (1 if begin else 0)
