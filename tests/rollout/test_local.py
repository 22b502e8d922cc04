"""The local engine: what it says it drew is what the trainer reads, whatever it did to be fast (laws 2 and 3)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys import drift, policy, wrapped

from amend.policy.policy import Policy
from amend.rollout.local import Local, draw, streams
from amend.types import Completion, SamplingParams, Tokens

PROMPTS: list[Tokens] = [(2, 5, 3), (2, 6, 5, 6, 3), (2, 5, 3), (2, 6, 3), (2, 5, 5, 5, 5, 5, 3), (2, 6, 3)]
SEEDS = [(0, i) for i in range(len(PROMPTS))]
HOW = SamplingParams(1.0, 12)


@pytest.fixture(scope="module", params=["llama", "qwen2", "gpt2"])
def toy(request: pytest.FixtureRequest) -> Policy:
    return drift(policy(request.param))


def trainer_logp(toy: Policy, prompt: Tokens, reply: Completion, temperature: float) -> list[float]:
    tokens = torch.tensor([prompt + reply.tokens])
    loss_mask = torch.zeros(tokens.shape, dtype=torch.bool)
    loss_mask[0, len(prompt) :] = True
    with torch.no_grad():
        return toy.logprobs(tokens, loss_mask, temperature)[0, len(prompt) :].tolist()


@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.0, 1.5])
@pytest.mark.parametrize("compact", [0.0, 0.3, 1.0])
def test_logp_is_the_trainers(toy: Policy, temperature: float, compact: float) -> None:
    """Ragged prompts, shared prefills, rows that end and are dropped: each token's log-probability is the trainer's."""
    replies = Local(toy, max_batch_size=64, compaction_threshold=compact).sample(
        PROMPTS, SamplingParams(temperature, 12), SEEDS
    )
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        assert list(reply.logp) == pytest.approx(trainer_logp(toy, prompt, reply, temperature), abs=5e-5)


def test_under_autocast_it_stays_close_to_the_trainer() -> None:
    """Layers are computed in bfloat16, of eight bits; log-probabilities and their gradients leave it for float32."""
    exact = drift(policy("llama"))
    rounded = wrapped(exact.lm, exact.tokenizer, autocast=True)
    replies = Local(rounded, max_batch_size=64, compaction_threshold=0.3).sample(
        PROMPTS, SamplingParams(1.0, 12), SEEDS
    )
    gaps, moved = [], []
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        trained, whole = (np.array(trainer_logp(one, prompt, reply, 1.0)) for one in (rounded, exact))
        gaps += np.abs(trained - np.array(reply.logp)).tolist()
        moved += np.abs(trained - whole).tolist()
    assert max(gaps) < 0.1 and np.mean(gaps) < 0.02
    assert max(moved) > 1e-4, "autocast was on"
    tokens, loss_mask = (
        torch.tensor([PROMPTS[0] + replies[0].tokens]),
        torch.ones(1, len(PROMPTS[0] + replies[0].tokens)),
    )
    logp = rounded.logprobs(tokens, loss_mask.bool().index_fill(1, torch.tensor([0]), False), 1.0)
    assert logp.dtype == torch.float32
    gradients = torch.autograd.grad(logp.sum(), list(rounded.lm.parameters()), allow_unused=True)
    assert all(g.dtype == torch.float32 and bool(g.isfinite().all()) for g in gradients if g is not None)


@pytest.mark.parametrize("compact", [0.0, 0.3, 1.0])
def test_turn_two_goes_on_from_turn_ones_cache(toy: Policy, compact: float) -> None:
    """Prompts that extend the rows of the last call, by different lengths, give what a fresh engine gives."""
    engine, fresh = (
        Local(toy, max_batch_size=64, compaction_threshold=compact),
        Local(toy, max_batch_size=64, compaction_threshold=compact),
    )
    first = engine.sample(PROMPTS, HOW, SEEDS)
    more = [(4, 2, 6, 3), (4, 2, 3), (2, 3), (2, 6, 6, 6, 3), (3,), (4, 2, 3)]
    second = [p + r.tokens + m for p, r, m in zip(PROMPTS, first, more, strict=True)]
    seeds = [(1, i) for i in range(len(second))]
    went_on, read_anew = engine.sample(second, HOW, seeds), fresh.sample(second, HOW, seeds)
    assert [r.tokens for r in went_on] == [r.tokens for r in read_anew]
    for prompt, reply in zip(second, went_on, strict=True):
        assert list(reply.logp) == pytest.approx(trainer_logp(toy, prompt, reply, 1.0), abs=5e-5)


def test_the_same_prompts_again_are_read_again(toy: Policy) -> None:
    """With one-token replies the cache holds exactly the prompts: nothing extends it, so it is no use."""
    engine = Local(toy, max_batch_size=64, compaction_threshold=0.3)
    one, two = (engine.sample(PROMPTS, SamplingParams(1.0, 1), SEEDS) for _ in range(2))
    assert [r.tokens for r in one] == [r.tokens for r in two]


def test_kept_buffers_leave_no_trace(toy: Policy) -> None:
    """After larger and smaller calls have used the same buffers, a call gives what an engine without a past gives."""
    engine = Local(toy, max_batch_size=64, compaction_threshold=0.3)
    for count in (6, 2, 5, 1, 6):
        engine.sync_weights()
        ours = engine.sample(PROMPTS[:count], HOW, SEEDS[:count])
        alone = Local(toy, max_batch_size=64, compaction_threshold=0.3).sample(PROMPTS[:count], HOW, SEEDS[:count])
        assert [r.tokens for r in ours] == [r.tokens for r in alone]
        for one, other in zip(ours, alone, strict=True):
            assert list(one.logp) == pytest.approx(list(other.logp), abs=1e-5)


def test_the_cache_is_really_used_and_really_forgotten(toy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Local(toy, max_batch_size=64, compaction_threshold=0.3)
    first = engine.sample(PROMPTS, HOW, SEEDS)
    second = [p + r.tokens + (2, 3) for p, r in zip(PROMPTS, first, strict=True)]
    read: list[int] = []
    original = Policy.next_logits

    def count(self: Policy, lm: object, last: object, **inputs: object) -> object:
        read.append(inputs["input_ids"].shape[1])  # type: ignore[attr-defined]
        return original(self, lm, last, **inputs)  # type: ignore[arg-type]

    monkeypatch.setattr(Policy, "next_logits", count)
    engine.sample(second, HOW, SEEDS)
    assert read[0] == 3  # the last drawn token and two new ones
    engine.sample(PROMPTS, HOW, SEEDS)
    read.clear()
    engine.sync_weights()
    engine.sample(second, HOW, SEEDS)
    assert read[0] == max(map(len, second))


def test_a_row_does_not_depend_on_its_neighbours(toy: Policy) -> None:
    engine = Local(toy, max_batch_size=64, compaction_threshold=0.3)
    together = engine.sample(PROMPTS, HOW, SEEDS)
    engine.sync_weights()
    for i, prompt in enumerate(PROMPTS):
        alone = engine.sample([prompt], HOW, [SEEDS[i]])[0]
        engine.sync_weights()
        assert alone.tokens == together[i].tokens
    by_two = Local(toy, max_batch_size=2, compaction_threshold=0.3).sample(PROMPTS, HOW, SEEDS)
    assert [r.tokens for r in by_two] == [r.tokens for r in together]


def test_same_seed_same_draw_bit_for_bit_and_another_seed_another(toy: Policy) -> None:
    engine = Local(toy, max_batch_size=64, compaction_threshold=0.3)
    one, two = (engine.sample(PROMPTS, HOW, SEEDS) for _ in range(2))
    assert one == two
    other = engine.sample(PROMPTS, HOW, [(9, i) for i in range(len(PROMPTS))])
    assert [r.tokens for r in other] != [r.tokens for r in one]


def test_an_empty_reply_is_its_end_token_alone() -> None:
    toy = policy()
    toy.ends = tuple(range(7))
    reply = Local(toy, max_batch_size=64, compaction_threshold=0.3).sample([PROMPTS[0]], HOW, [(0,)])[0]
    assert len(reply.tokens) == 1 and reply.text == "" and reply.stop == "end"


def test_one_token_replies(toy: Policy) -> None:
    replies = Local(toy, max_batch_size=64, compaction_threshold=0.3).sample(PROMPTS, SamplingParams(1.0, 1), SEEDS)
    assert all(len(reply.tokens) == 1 for reply in replies)


def test_greedy_is_what_generate_says(toy: Policy) -> None:
    replies = Local(toy, max_batch_size=64, compaction_threshold=0.3).sample(PROMPTS, SamplingParams(0.0, 12), SEEDS)
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        said = toy.lm.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False, pad_token_id=0)
        assert tuple(said[0, len(prompt) :].tolist()) == reply.tokens


def test_draw_is_distributed_as_the_softmax() -> None:
    """100,000 draws of one row against its probabilities: within five standard errors each."""
    logits = torch.tensor([2.0, 0.0, -1.0, 1.0, -torch.inf]).expand(100_000, 5)
    uniform = torch.from_numpy(streams([(0,)], 100_000))[0]
    token, logp = draw(logits, 0.8, uniform)
    chance = (logits[0] / 0.8).softmax(-1)
    share = torch.bincount(token, minlength=5) / len(token)
    assert ((share - chance).abs() <= 5 * (chance * (1 - chance) / len(token)).sqrt()).all()
    assert torch.allclose(logp, chance.log()[token], atol=1e-6)


def test_draw_never_picks_what_cannot_be_drawn() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]] * 3)
    token, _ = draw(logits, 1.0, torch.tensor([0.0, 0.5, 1.0 - 2**-24]))
    assert token.tolist() == [1, 3, 3]
