"""Compute the shared prefix of several conversations only once, in sampling and in the update.

The episodes of one problem share its prompt, and padding needs no computation. Conversations that begin with the same
tokens therefore share nodes of a prefix tree. The model computes its per-token operations once per node: embedding,
normalization, projections and feed-forward layers. Only attention needs whole conversations, so each row's nodes are
gathered there (``amend.policy.attention``). In exact arithmetic the result is the same, because the state of a causal
model at a token is a function of the tokens up to this token:

    h(i, t) = f(tokens[i, :t + 1]),     so  tokens[i, :t + 1] = tokens[j, :t + 1]  =>  h(i, t) = h(j, t)

The gradient of a shared state is the sum of the gradients of its rows.

Shared-prefix attention is known from inference, for instance in Hydragen (Juravsky et al. 2024).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn


class PrefixTree(NamedTuple):
    """The n nodes of b conversations of up to t tokens.

    Attributes:
        node: The node of each token; 0 on padding, although 0 is also the number of a node.
        row_index: One index of each node in the flattened array [b t], although a node can occur in several rows.
        tokens: The token of each node.
        positions: The position of each node in its conversations, counted from 0.
    """

    node: Int[Tensor, "b t"]
    row_index: Int[Tensor, " n"]
    tokens: Int[Tensor, " n"]
    positions: Int[Tensor, " n"]

    def layout(self) -> Int[Tensor, "1 2 b t"]:
        """Return ``node`` and ``row_index`` as one tensor, which is passed to the model in the mask argument.

        A transformers model passes a mask with four dimensions to its attention layers unchanged.
        """
        row_index = self.row_index.new_zeros(self.node.numel())
        row_index[: len(self.row_index)] = self.row_index
        return torch.stack([self.node, row_index.view_as(self.node)])[None]


def build_prefix_tree(tokens: Int[Tensor, "b t"], lengths: Int[Tensor, " b"]) -> PrefixTree:
    """Build the prefix tree of conversations.

    Args:
        tokens: The conversations, padded on the right.
        lengths: The number of tokens of each conversation, at least 1. Later tokens are ignored.

    Returns:
        The tree, on the device of ``tokens``.
    """
    rows, size = tokens.cpu().numpy(), lengths.cpu().numpy()
    b, t = rows.shape
    time = np.arange(t)
    within = time < size[:, None]
    order = np.lexsort(np.where(within, rows, -1).T[::-1])  # puts conversations with equal prefixes next to each other
    ordered, inside = rows[order], within[order]
    common = np.zeros(b, dtype=np.int64)  # length of the prefix that a row shares with the previous row
    common[1:] = np.cumprod((ordered[1:] == ordered[:-1]) & inside[1:] & inside[:-1], axis=1).sum(axis=1)
    new = inside & (time >= common[:, None])
    owner = np.maximum.accumulate(np.where(time >= common[:, None], np.arange(b)[:, None], 0), axis=0)
    number = np.cumsum(new).reshape(b, t) - 1
    node = np.empty((b, t), dtype=np.int64)
    node[order] = np.where(inside, number[owner, time], 0)
    row, position = np.nonzero(new)
    row_index = order[row] * t + position
    device = tokens.device
    return PrefixTree(
        torch.from_numpy(node).to(device),
        torch.from_numpy(row_index).to(device),
        torch.from_numpy(rows.reshape(-1)[row_index]).to(device),
        torch.from_numpy(position).to(device),
    )


def gather_conversations(states: Tensor, node: Int[Tensor, "b t"]) -> Tensor:
    """Expand the states of nodes [1 heads n d] to the states of conversations [b heads t d]."""
    _, heads, n, d = states.shape
    # The gradient of ``embedding`` sums over rows faster than the gradient of indexing.
    flat = states.transpose(1, 2).reshape(n, heads * d)
    return nn.functional.embedding(node, flat).view(*node.shape, heads, d).transpose(1, 2)


def scatter_back(states: Tensor, row_index: Int[Tensor, " n"]) -> Tensor:
    """Collapse the states of conversations [b t heads d] to the states of nodes [1 n heads d].

    Each node takes its state from one of its conversations.
    """
    _, _, heads, d = states.shape
    return nn.functional.embedding(row_index, states.reshape(-1, heads * d)).view(1, -1, heads, d)


def build_tree_for_sampled(tokens: Int[Tensor, "b t"], loss_mask: Bool[Tensor, "b t"]) -> PrefixTree:
    """Build the prefix tree of the tokens that the model needs to predict the sampled tokens.

    Args:
        tokens: The conversations, padded on the right.
        loss_mask: True for the tokens that were sampled.

    Returns:
        The tree of each conversation up to the position before its last sampled token.
    """
    predicts_sampled = loss_mask[:, 1:]
    last = torch.arange(1, predicts_sampled.shape[1] + 1, device=tokens.device) * predicts_sampled
    return build_prefix_tree(tokens[:, :-1], last.amax(dim=1).clamp(min=1))
