"""What conversations have in common is read once, and nothing else changes: by hand, by brute force, in gradients."""

from __future__ import annotations

import pytest
import torch
from architectures import ARCHITECTURES, lora, policy
from hypothesis import given
from hypothesis import strategies as st
from toys import drift

from amend.policy.capabilities import supports_prefix_trees
from amend.policy.prefix_tree import PrefixTree, build_prefix_tree, gather_conversations, scatter_back

SHARING = [name for name in ARCHITECTURES if name not in ("qwen2", "gemma2")]  # windows; scores that are capped
ROWS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=7), min_size=1, max_size=9)


def of(rows: list[list[int]], padding: int = 0) -> PrefixTree:
    width = max(map(len, rows))
    tokens = torch.tensor([row + [padding] * (width - len(row)) for row in rows])
    return build_prefix_tree(tokens, torch.tensor([len(row) for row in rows]))


def test_two_by_four_by_hand() -> None:
    """Two rows begin alike and part at the third token; a third is the beginning of both, padded with their next."""
    found = of([[5, 6, 7, 8], [5, 6, 8, 8], [5, 6]], padding=7)
    assert len(found.tokens) == 6  # 5 6 7 8, and 8 8 of the second
    assert found.node[0, :2].tolist() == found.node[1, :2].tolist() == found.node[2, :2].tolist()
    assert len({int(node) for node in found.node[:2].flatten()}) == 6
    assert found.node[2, 2:].tolist() == [0, 0]
    by_node = sorted(zip(found.positions.tolist(), found.tokens.tolist(), strict=True))
    assert by_node == [(0, 5), (1, 6), (2, 7), (2, 8), (3, 8), (3, 8)]


@given(ROWS, st.integers(0, 2))
def test_a_node_is_a_beginning(rows: list[list[int]], padding: int) -> None:
    """Two tokens are one node exactly where all up to them is the same; each node says its token and its place."""
    found, width = of(rows, padding), max(map(len, rows))
    beginnings: dict[int, list[int]] = {}
    for row, nodes in zip(rows, found.node.tolist(), strict=True):
        for t in range(len(row)):
            assert beginnings.setdefault(nodes[t], row[: t + 1]) == row[: t + 1]
    distinct = {tuple(row[: t + 1]) for row in rows for t in range(len(row))}
    assert len(beginnings) == len(distinct) == len(found.tokens)
    for node, beginning in beginnings.items():
        row, t = divmod(int(found.row_index[node]), width)
        assert (rows[row][: t + 1], t, beginning[-1]) == (
            beginning,
            int(found.positions[node]),
            int(found.tokens[node]),
        )


@given(ROWS)
def test_laid_out_and_taken_up_again(rows: list[list[int]]) -> None:
    """Each row gets the states of its own nodes, and each node its own state back; a gradient is summed over rows."""
    found, heads, d = of(rows), 2, 3
    states = torch.randn(1, heads, len(found.tokens), d, dtype=torch.float64, requires_grad=True)
    wide = gather_conversations(states, found.node)
    assert wide.shape == (len(rows), heads, max(map(len, rows)), d)
    for i, row in enumerate(rows):
        assert torch.equal(wide[i, :, : len(row)], states[0][:, found.node[i, : len(row)]])
    assert torch.equal(scatter_back(wide.transpose(1, 2), found.row_index), states.transpose(1, 2))
    (gradient,) = torch.autograd.grad(wide.sum(), states)
    times = torch.bincount(found.node.flatten(), minlength=len(found.tokens))
    assert torch.equal(gradient[0, 0, :, 0], times.double())


def conversations() -> tuple[torch.Tensor, torch.Tensor]:
    """Three problems, four samples each, of which some agree for a while longer than the prompt."""
    generator = torch.Generator().manual_seed(4)
    tokens = torch.randint(5, 9, (12, 14), generator=generator)
    for problem in range(3):
        own = slice(4 * problem, 4 * problem + 4)
        tokens[own, :6] = tokens[4 * problem, :6].clone()
        tokens[4 * problem + 1, :9] = tokens[4 * problem, :9].clone()
    loss_mask = torch.zeros(tokens.shape, dtype=torch.bool)
    loss_mask[:, 6:] = torch.rand(12, 8, generator=generator) < 0.7
    loss_mask[2, 9:] = False  # a short one
    return tokens, loss_mask


@pytest.mark.parametrize("way", ["full", "lora"])
@pytest.mark.parametrize("name", SHARING)
def test_reading_once_changes_no_likelihood_and_no_gradient(name: str, way: str) -> None:
    made = drift(policy(name, lora() if way == "lora" else None), 0.05)
    tokens, loss_mask = conversations()
    heat = torch.full(tokens.shape, 0.7)

    def read(shares: bool) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        assert made._uses_prefix_trees
        made._uses_prefix_trees = shares
        read_by = made.lm.base_model.register_forward_pre_hook(
            lambda _, __, inputs: seen.append(inputs["input_ids"].numel()), with_kwargs=True
        )
        out = made(tokens, loss_mask, heat, reference=True)
        read_by.remove()
        made._uses_prefix_trees = True
        weights = [w for w in made.lm.parameters() if w.requires_grad]
        loss = (out.logp * torch.arange(14) + 0.3 * out.kl - 0.1 * out.entropy).sum()
        return [out.logp, out.ref_logp, out.kl, out.entropy], list(torch.autograd.grad(loss, weights))

    seen: list[int] = []
    together, apart = read(shares=True), read(shares=False)
    assert seen[0] < 0.7 * seen[-1], "nothing was read once: the test shows nothing"
    for mine, plain in zip(together[0], apart[0], strict=True):
        assert torch.allclose(mine, plain, atol=1e-5)
    scale = max(float(g.abs().max()) for g in apart[1])
    for mine, plain in zip(together[1], apart[1], strict=True):
        assert torch.allclose(mine, plain, atol=1e-5 * scale)


@pytest.mark.parametrize("name", ["qwen2", "gemma2"])
def test_a_model_whose_attention_is_its_own_reads_row_by_row(name: str) -> None:
    assert not policy(name)._uses_prefix_trees


def test_a_model_that_reads_a_tree_differently_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its configuration says: one that leaves positions out of account, as a recurrent layer would."""
    made = policy("gpt2")
    inner = made.lm.base_model.forward
    deaf = lambda position_ids=None, **inputs: inner(**inputs)  # noqa: E731
    monkeypatch.setattr(made.lm.base_model, "forward", deaf)
    assert not supports_prefix_trees(made.lm, made._read, made.in_bfloat16)


def test_a_model_that_stumbles_over_a_tree_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does that cuts or adds up its mask."""
    made = policy("llama")
    inner = made.lm.base_model.forward

    def cutting(attention_mask: torch.Tensor | None = None, **inputs: object) -> object:
        return inner(attention_mask=None if attention_mask is None else attention_mask[..., :3] + 0.5, **inputs)

    monkeypatch.setattr(made.lm.base_model, "forward", cutting)
    assert not supports_prefix_trees(made.lm, made._read, made.in_bfloat16)


def test_bfloat16_reads_trees_too() -> None:
    made = policy("llama")
    assert supports_prefix_trees(made.lm, made._read, made.in_bfloat16)
    made.lm.to(torch.bfloat16)
    assert supports_prefix_trees(made.lm, made._read, made.in_bfloat16)
