"""What every engine promises, whoever computes it: one set of claims, and a line an engine (laws 2, 3 and 7).

``vllm`` is TRL's client against a server on loopback that speaks vLLM's protocol and samples with our local engine
(``tests/vllm_server.py``): what is held of it is our side and the protocol, not vLLM.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import torch
from toys import drift, policy
from vllm_server import Loopback, free_port, pretending

from amend.policy.policy import Policy
from amend.rollout.base import Engine
from amend.rollout.hf import HF
from amend.rollout.local import Local
from amend.rollout.vllm import VLLM
from amend.types import Completion, SamplingParams, Tokens

PROMPTS: list[Tokens] = [(2, 5, 3), (2, 6, 5, 6, 3), (2, 5, 3), (2, 6, 3), (2, 5, 5, 5, 5, 5, 3), (2, 6, 3)]
DISTINCT = list(dict.fromkeys(PROMPTS))
SEEDS = [(0, i) for i in range(len(PROMPTS))]
HOW = SamplingParams(1.0, 12)
TOLERANCE = 5e-5  # nats: float32, computed in another order

Make = Callable[[Policy], Engine]


def local(toy: Policy, held: ExitStack) -> Engine:
    return Local(toy, max_batch_size=64, compaction_threshold=0.3)


def hf(toy: Policy, held: ExitStack) -> Engine:
    return HF(toy, max_batch_size=64, importance_sampling_cap=None)


def vllm(toy: Policy, held: ExitStack) -> Engine:
    server = Loopback(toy)
    held.callback(server.close)
    return VLLM(
        toy,
        url=server.url,
        group_port=free_port(),
        server_timeout=0.0,
        max_batch_size=64,
        max_concurrency=8,
        importance_sampling_cap=None,
    )


@pytest.fixture(params=[local, hf, vllm], ids=["local", "hf", "vllm"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    with ExitStack() as held:
        if request.param is vllm:
            held.enter_context(pretending("0.31.0"))
        yield lambda toy: request.param(toy, held)


@pytest.fixture
def toy() -> Policy:
    return drift(policy())


def read(toy: Policy, prompt: Tokens, reply: Completion, temperature: float, reference: bool = False) -> list[float]:
    """The log-probabilities of a reply as the trainer reads them, teacher-forced."""
    tokens = torch.tensor([prompt + reply.tokens])
    loss_mask = torch.zeros(tokens.shape, dtype=torch.bool)
    loss_mask[0, len(prompt) :] = True
    with torch.no_grad():
        logp = (toy.reference_logprobs if reference else toy.logprobs)(tokens, loss_mask, temperature)
    return logp[0, len(prompt) :].tolist()


def agree(toy: Policy, prompts: list[Tokens], replies: list[Completion], temperature: float = 1.0) -> None:
    for prompt, reply in zip(prompts, replies, strict=True):
        assert list(reply.logp) == pytest.approx(read(toy, prompt, reply, temperature), abs=TOLERANCE)


def test_it_is_an_engine(make: Make, toy: Policy) -> None:
    assert isinstance(make(toy), Engine)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
def test_greedy_is_the_most_probable_token_each_time(make: Make, architecture: str) -> None:
    toy = drift(policy(architecture))
    replies = make(toy).sample(PROMPTS, SamplingParams(0.0, 12), SEEDS)
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        said = toy.lm.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False, pad_token_id=0)
        assert tuple(said[0, len(prompt) :].tolist()) == reply.tokens
    agree(toy, PROMPTS, replies, 0.0)  # read at temperature 1


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.5])
def test_logp_is_the_trainers_after_temperature(make: Make, toy: Policy, temperature: float) -> None:
    agree(toy, PROMPTS, make(toy).sample(PROMPTS, SamplingParams(temperature, 12), SEEDS), temperature)


def test_it_draws_from_the_whole_distribution(make: Make) -> None:
    """200 one-token replies at temperature 1.5 against the model's own probabilities, within five standard errors:
    nothing is cut off, whatever the model's generation config asks for, and the seeds are not all one."""
    toy = policy()
    toy.lm.generation_config.top_k, toy.lm.generation_config.temperature = 1, 0.1
    replies = make(toy).sample([PROMPTS[1]] * 200, SamplingParams(1.5, 1), [(7, i) for i in range(200)])
    with torch.no_grad():
        chance = (toy.lm(torch.tensor([PROMPTS[1]])).logits[0, -1] / 1.5).softmax(-1)
    share = torch.bincount(torch.tensor([r.tokens[0] for r in replies]), minlength=len(chance)) / 200
    assert ((share - chance).abs() <= 5 * (chance * (1 - chance) / 200).sqrt() + 1e-6).all()


def test_the_end_token_is_kept_once_and_last_or_the_length_stopped_it(make: Make, toy: Policy) -> None:
    replies = make(toy).sample(PROMPTS * 8, HOW, [(3, i) for i in range(48)])
    stops = Counter(reply.stop for reply in replies)
    assert stops["end"] > 0 and stops["length"] > 0
    for reply in replies:
        assert len(reply.logp) == len(reply.tokens)
        ends = [i for i, token in enumerate(reply.tokens) if token in toy.ends]
        if reply.stop == "end":
            assert ends == [len(reply.tokens) - 1]
            assert reply.text == toy.tokenizer.decode(list(reply.tokens[:-1]))
        else:
            assert not ends and len(reply.tokens) == HOW.max_tokens


def test_several_end_tokens_each_end_a_reply(make: Make) -> None:
    toy = policy()
    toy.ends = (4, 6)
    replies = make(toy).sample(PROMPTS * 8, HOW, [(3, i) for i in range(48)])
    assert {reply.tokens[-1] for reply in replies if reply.stop == "end"} == {4, 6}


def test_replies_come_in_the_order_of_their_prompts(make: Make, toy: Policy) -> None:
    """Greedily, prompts in another order give the same replies in that order; no two prompts' are equally likely."""
    engine, greedy = make(toy), SamplingParams(0.0, 12)
    forth = engine.sample(DISTINCT, greedy, SEEDS[:4])
    engine.sync_weights()
    back = engine.sample(DISTINCT[::-1], greedy, SEEDS[:4])
    likely = [sum(reply.logp) for reply in forth]
    assert [sum(reply.logp) for reply in back] == pytest.approx(likely[::-1], abs=1e-4)
    assert all(abs(one - other) > 1e-3 for i, one in enumerate(likely) for other in likely[:i])


def test_a_long_prompt_beside_short_ones(make: Make, toy: Policy) -> None:
    ragged: list[Tokens] = [(2, *(5, 6) * 60, 3), (2, 3), (2, 5, 3)]
    replies = make(toy).sample(ragged, HOW, SEEDS[:3])
    agree(toy, ragged, replies)


def test_nothing_asked_nothing_said(make: Make, toy: Policy) -> None:
    assert make(toy).sample([], HOW, []) == []


def test_the_same_call_draws_the_same_and_other_seeds_draw_otherwise(make: Make, toy: Policy) -> None:
    engine = make(toy)
    prompts, seeds = PROMPTS * 4, [(0, i) for i in range(24)]
    one = engine.sample(prompts, HOW, seeds)
    engine.sync_weights()
    assert engine.sample(prompts, HOW, seeds) == one
    engine.sync_weights()
    other = engine.sample(prompts, HOW, [(9, i) for i in range(24)])
    assert [r.tokens for r in other] != [r.tokens for r in one]
    assert len({r.tokens for r in one[::6]}) > 1  # one prompt, four seeds


def test_it_leaves_everyone_elses_randomness_alone(make: Make, toy: Policy) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    make(toy).sample(PROMPTS, HOW, SEEDS)
    assert torch.rand(1) == wanted


def test_it_leaves_the_model_as_it_was(make: Make, toy: Policy) -> None:
    before = (toy.lm.config._attn_implementation, toy.lm.training, {n: p.clone() for n, p in toy.lm.named_parameters()})
    make(toy).sample(PROMPTS, HOW, SEEDS)
    assert toy.lm.config._attn_implementation == before[0] and toy.lm.training == before[1]
    assert all(torch.equal(p, before[2][n]) and p.requires_grad for n, p in toy.lm.named_parameters())


def test_the_second_turn_extends_the_first(make: Make, toy: Policy) -> None:
    engine = make(toy)
    first = engine.sample(PROMPTS, HOW, SEEDS)
    prompts = [p + r.tokens + (2, 6, 3)[i % 2 :] for i, (p, r) in enumerate(zip(PROMPTS, first, strict=True))]
    agree(toy, prompts, engine.sample(prompts, HOW, [(1, i) for i in range(6)]))


def test_new_weights_reach_the_sampler(make: Make) -> None:
    toy = policy()
    engine = make(toy)
    before = engine.sample(PROMPTS, HOW, SEEDS)
    drift(toy, 1.0)
    engine.sync_weights()
    after = engine.sample(PROMPTS, HOW, SEEDS)
    assert [r.tokens for r in before] != [r.tokens for r in after]
    agree(toy, PROMPTS, after)


def test_the_frozen_twin_samples_from_the_reference_and_the_engine_still_from_the_policy(
    make: Make, toy: Policy
) -> None:
    """In turns, as a round with offline first attempts has them; and from where the reference has moved to."""
    engine = make(toy)
    twin = engine.reference_engine()
    for _ in range(2):
        for prompt, reply in zip(PROMPTS, twin.sample(PROMPTS, HOW, SEEDS), strict=True):
            assert list(reply.logp) == pytest.approx(read(toy, prompt, reply, 1.0, reference=True), abs=TOLERANCE)
        agree(toy, PROMPTS, engine.sample(PROMPTS, HOW, SEEDS))
        toy.freeze_reference()
        drift(toy, 0.5)
        twin.sync_weights()
        engine.sync_weights()


def test_more_prompts_than_a_batch_takes(make: Make, toy: Policy) -> None:
    engine = make(toy)
    engine.max_batch_size = 4
    agree(toy, PROMPTS, engine.sample(PROMPTS, HOW, SEEDS))
