"""Attention for one new token a row, and for short rows, gives what torch's own gives, on every head layout: masked
columns included, masks of numbers and of truth values, and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from amend.policy import attention as kernels
from amend.policy.attention import NAME, SHORT, attention
from amend.policy.loading import BUILTIN


def torchs(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """The same of torch's kernel, each shared head written out."""
    wide = [part.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for part in (key, value)]
    found = nn.functional.scaled_dot_product_attention(query, *wide, attn_mask=mask, is_causal=mask is None)
    return found.transpose(1, 2)


@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (4, 2), (4, 1)])
def test_one_query_is_torchs(heads: int, shared: int) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(5, heads, 1, 8), torch.randn(5, shared, 7, 8), torch.randn(5, shared, 7, 8)
    visible = torch.rand(5, 1, 1, 7) < 0.6
    visible[..., 0] = True
    mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
    with torch.no_grad():
        ours, _ = attention(nn.Module(), query, key, value, mask, scaling=8**-0.5)
        assert torch.allclose(ours, torchs(query, key, value, mask), atol=1e-6)
        told, _ = attention(nn.Module(), query, key, value, visible, scaling=8**-0.5)
        assert torch.equal(ours, told), "what is visible, as transformers' own generation says it"
        value[~visible[:, 0, 0, :, None].expand(5, 7, 8).unsqueeze(1).expand_as(value)] = 1e6  # unseen, so unfelt
        again, _ = attention(nn.Module(), query, key, value, mask, scaling=8**-0.5)
    assert torch.equal(ours, again)


@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize("t", [2, 7, SHORT, SHORT + 1])
@pytest.mark.parametrize("given", ["nothing", "numbers", "truth"])
def test_rows_have_torchs_values_and_gradients(heads: int, shared: int, t: int, given: str) -> None:
    torch.manual_seed(0)
    ours = [torch.randn(3, n, t, 8).requires_grad_() for n in (heads, shared, shared)]
    theirs = [part.detach().clone().requires_grad_() for part in ours]
    visible = torch.ones(t, t, dtype=torch.bool).tril().expand(3, 1, t, t).clone()
    visible[1, :, 1:, 0] = False  # padding on the left, for whoever comes after it
    numbers = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
    mask = {"nothing": None, "numbers": numbers, "truth": visible}[given]
    layer = nn.Module()
    layer.num_key_value_groups = heads // shared  # type: ignore[assignment]
    found, _ = attention(layer, *ours, mask, scaling=8**-0.5)
    wanted = torchs(*theirs, mask)
    assert found.shape == (3, t, heads, 8) and torch.allclose(found, wanted, atol=1e-6)
    upon = torch.randn(found.shape)
    for one, other in zip(
        torch.autograd.grad(found, ours, upon), torch.autograd.grad(wanted, theirs, upon), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("q", [1, 5])
def test_values_may_be_narrower_than_keys(q: int) -> None:
    """As in multi-head latent attention; and what comes back lies as torch's does, for some models take views of it."""
    query, key, value = torch.randn(2, 4, q, 12), torch.randn(2, 2, 5, 12), torch.randn(2, 2, 5, 8)
    visible = torch.ones(2, 1, q, 5, dtype=torch.bool).tril(5 - q)
    found, _ = attention(nn.Module(), query, key, value, visible, scaling=12**-0.5)
    assert found.shape == (2, q, 4, 8) and found.is_contiguous()
    assert torch.allclose(found, torchs(query, key, value, visible), atol=1e-6)


def test_a_later_turn_reads_on_behind_what_is_cached() -> None:
    """Fewer queries than keys, each of which sees one more."""
    query, key, value = torch.randn(2, 4, 3, 8), torch.randn(2, 2, 9, 8), torch.randn(2, 2, 9, 8)
    visible = torch.ones(2, 1, 3, 9, dtype=torch.bool).tril(6)
    visible[1, ..., :2] = False
    mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
    found, _ = attention(nn.Module(), query, key, value, mask, scaling=8**-0.5)
    assert torch.allclose(found, torchs(query, key, value, visible), atol=1e-6)


def torchs_own(monkeypatch: pytest.MonkeyPatch, told: Callable[[Tensor, dict[str, Any]], None]) -> None:
    """transformers' function replaced by one that says how it was called."""

    def instead(module: nn.Module, query: Tensor, *rest: Any, **given: Any) -> tuple[Tensor, None]:
        told(query, given)
        return query, None

    monkeypatch.setattr(kernels, "sdpa_attention_forward", instead)


@pytest.mark.parametrize("q", [1, 5])
@pytest.mark.parametrize("extras", [{"position_bias": torch.randn(1, 4, 1, 5)}, {"dropout": 0.5}])
def test_what_asks_for_more_than_a_mask_gets_transformers_own(
    extras: dict[str, Any], q: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        kernels, "sdpa_attention_forward", lambda *args, **given: asked.append(given) or (args[1], None)
    )
    query, key, value = torch.randn(2, 4, q, 8), torch.randn(2, 4, 5, 8), torch.randn(2, 4, 5, 8)
    attention(nn.Module(), query, key, value, torch.ones(2, 1, q, 5, dtype=torch.bool), scaling=0.3, **extras)
    assert asked == [{"scaling": 0.3, **extras}]


def test_in_fewer_bits_rows_have_torchs_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which keeps the scores in float32: also where autocast would round them, though queries are float32."""
    asked = []
    monkeypatch.setattr(
        kernels, "sdpa_attention_forward", lambda *args, **_: asked.append(args[1].dtype) or (args[1], None)
    )
    query, key, value = torch.randn(2, 4, 5, 8), torch.randn(2, 4, 5, 8), torch.randn(2, 4, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        attention(nn.Module(), query, key, value, None)
    attention(nn.Module(), query.bfloat16(), key.bfloat16(), value.bfloat16(), None)
    assert asked == [torch.float32, torch.bfloat16]
    attention(nn.Module(), query, key, value, None)
    assert len(asked) == 2


def test_a_model_that_sees_both_ways_still_does() -> None:
    query, key, value = (torch.randn(2, 2, 5, 8) for _ in range(3))
    both = nn.Module()
    both.is_causal = False  # type: ignore[assignment]
    found, _ = attention(both, query, key, value, None, scaling=8**-0.5)
    wanted = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)
    assert torch.allclose(found, wanted, atol=1e-6)


def test_transformers_own_generation_is_right_with_it() -> None:
    """Which pads on the left, and says what is visible in truth values."""
    stock = AutoModelForCausalLM.from_pretrained(BUILTIN).eval()
    ours = AutoModelForCausalLM.from_pretrained(BUILTIN, attn_implementation=NAME).eval()
    tokens = torch.randint(5, 100, (6, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(tokens)
    for row, padding in enumerate((0, 3, 5, 1, 0, 7)):
        mask[row, :padding] = 0
    sampling_params = {
        "attention_mask": mask,
        "do_sample": False,
        "max_new_tokens": 12,
        "pad_token_id": 0,
        "eos_token_id": None,
    }
    assert torch.equal(ours.generate(tokens, **sampling_params), stock.generate(tokens, **sampling_params))
