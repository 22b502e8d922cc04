"""Attention for one new token a row gives what torch's own gives, on every head layout, masked columns included."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from amend.policy.attention import attention


@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (4, 2), (4, 1)])
def test_one_query_is_torchs(heads: int, shared: int) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(5, heads, 1, 8), torch.randn(5, shared, 7, 8), torch.randn(5, shared, 7, 8)
    visible = torch.rand(5, 1, 1, 7) < 0.6
    visible[..., 0] = True
    mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
    with torch.no_grad():
        ours, _ = attention(nn.Module(), query, key, value, mask, scaling=8**-0.5)
        wide = [part.repeat_interleave(heads // shared, dim=1) for part in (key, value)]
        torchs = nn.functional.scaled_dot_product_attention(query, *wide, attn_mask=mask).transpose(1, 2)
        assert torch.allclose(ours, torchs, atol=1e-6)
        value[~visible[:, 0, 0, :, None].expand(5, 7, 8).unsqueeze(1).expand_as(value)] = 1e6  # unseen, so unfelt
        again, _ = attention(nn.Module(), query, key, value, mask, scaling=8**-0.5)
    assert torch.equal(ours, again)
