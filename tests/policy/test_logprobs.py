"""Laws 2 and 3: log-probabilities are the same alone, in a batch, padded, chunked, and as the model itself says."""

from __future__ import annotations

import pytest
import torch
from toys import drift, policy

from amend.ops import logprobs as module
from amend.policy.capabilities import head_is_linear
from amend.policy.policy import Policy

ARCHITECTURES = ["llama", "qwen2", "gpt2"]  # rotary, rotary with biases, absolute positions
ROWS = [[2, 5, 3, 6, 5, 4], [2, 6, 6, 5, 6, 3, 5, 5, 4], [2, 3, 4]]
DRAWN = [[3, 4, 5], [6, 7, 8], [2]]


def rectangle(rows: list[list[int]], drawn: list[list[int]], width: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    t = max(width, *(len(row) for row in rows))
    tokens = torch.zeros(len(rows), t, dtype=torch.long)
    loss_mask = torch.zeros(len(rows), t, dtype=torch.bool)
    for i, (row, where) in enumerate(zip(rows, drawn, strict=True)):
        tokens[i, : len(row)] = torch.tensor(row)
        loss_mask[i, where] = True
    return tokens, loss_mask


@pytest.fixture(scope="module", params=ARCHITECTURES)
def toy(request: pytest.FixtureRequest) -> Policy:
    return drift(policy(request.param))


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.5])
def test_alone_batched_and_padded_agree_with_the_models_own_logits(toy: Policy, temperature: float) -> None:
    tokens, loss_mask = rectangle(ROWS, DRAWN)
    with torch.no_grad():
        batched = toy.logprobs(tokens, loss_mask, temperature)
        padded = toy.logprobs(*rectangle(ROWS, DRAWN, width=24), temperature)[:, : tokens.shape[1]]
        for i, (row, where) in enumerate(zip(ROWS, DRAWN, strict=True)):
            alone = toy.logprobs(*rectangle([row], [where]), temperature)[0]
            rows = (toy.lm(input_ids=torch.tensor([row])).logits[0] / temperature).log_softmax(-1)
            for at in where:
                own = rows[at - 1, row[at]]
                for value in (alone[at], batched[i, at], padded[i, at]):
                    assert torch.allclose(value, own, atol=2e-5)
    assert (batched[~loss_mask] == 0).all()


def test_padding_tokens_value_does_not_matter(toy: Policy) -> None:
    tokens, loss_mask = rectangle(ROWS, DRAWN, width=12)
    other = tokens.clone()
    for i, row in enumerate(ROWS):
        other[i, len(row) :] = 4  # the end token, on padding
    with torch.no_grad():
        assert torch.equal(toy.logprobs(tokens, loss_mask, 1.0), toy.logprobs(other, loss_mask, 1.0))


def test_chunked_is_the_same_in_value_and_gradient(toy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, loss_mask = rectangle(ROWS, DRAWN)
    found = []
    for chunk in (module.MAX_LOGITS, 2 * 7):  # all at once; two positions at a time
        monkeypatch.setattr(module, "MAX_LOGITS", chunk)
        out = toy(tokens, loss_mask, 0.7, reference=True)
        loss = (out.logp + 0.3 * out.kl + 0.1 * out.entropy).sum()
        found.append((out, torch.autograd.grad(loss, list(toy.lm.parameters()), allow_unused=True)))
    for a, b in zip(found[0][0], found[1][0], strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_kl_and_entropy_against_the_models_own_logits(toy: Policy) -> None:
    tokens, loss_mask = rectangle(ROWS[:1], DRAWN[:1])
    with torch.no_grad():
        out = toy(tokens, loss_mask, 1.0, reference=True)
        own = toy.lm(input_ids=tokens).logits[0].log_softmax(-1)
        ref = toy.reference_lm(input_ids=tokens).logits[0].log_softmax(-1)
    for at in DRAWN[0]:
        p, q = own[at - 1], ref[at - 1]
        assert torch.allclose(out.kl[0, at], (p.exp() * (p - q)).sum(), atol=1e-5)
        assert torch.allclose(out.entropy[0, at], -(p.exp() * p).sum(), atol=1e-5)
        assert torch.allclose(out.ref_logp[0, at], q[tokens[0, at]], atol=1e-5)


def test_a_reference_nobody_asked_for_is_nan(toy: Policy) -> None:
    tokens, loss_mask = rectangle(ROWS, DRAWN)
    out = toy(tokens, loss_mask, 1.0, reference=False)
    assert torch.isnan(out.kl[loss_mask]).all()
    assert torch.isnan(out.ref_logp[loss_mask]).all()


def test_the_reference_is_frozen_and_follows_only_when_told() -> None:
    toy = policy()
    tokens, loss_mask = rectangle(ROWS, DRAWN)
    before = toy.reference_logprobs(tokens, loss_mask, 1.0)
    assert torch.equal(before, toy.logprobs(tokens, loss_mask, 1.0).detach())  # at first it is the policy, bit for bit
    drift(toy)
    assert torch.equal(toy.reference_logprobs(tokens, loss_mask, 1.0), before)
    assert not any(weights.requires_grad for weights in toy.reference_lm.parameters())
    toy.freeze_reference()
    assert torch.equal(toy.reference_logprobs(tokens, loss_mask, 1.0), toy.logprobs(tokens, loss_mask, 1.0).detach())


def test_a_model_whose_head_is_more_than_a_matrix_is_noticed() -> None:
    """Final logits that are capped (as Gemma 2's are) must not be read past the cap."""
    toy = policy()
    original = toy.lm.forward

    def capped(**inputs: object) -> object:
        out = original(**inputs)
        out.logits = torch.tanh(out.logits / 2) * 2
        return out

    toy.lm.forward = capped  # type: ignore[method-assign]
    assert not head_is_linear(toy.lm)
    toy._has_linear_head = False
    tokens, loss_mask = rectangle(ROWS[:1], DRAWN[:1])
    own = toy.lm(input_ids=tokens).logits[0].log_softmax(-1)
    got = toy.logprobs(tokens, loss_mask, 1.0)
    for at in DRAWN[0]:
        assert torch.allclose(got[0, at], own[at - 1, tokens[0, at]], atol=1e-5)
