"""Reading what several conversations have in common once: the episodes of a round are a tree, not a rectangle.

The samples of one problem share its prompt, a second turn goes on from a first, and no row needs its padding read. So
conversations that begin with the same tokens share those nodes of a prefix tree, and everything a model does to each
token by itself (embedding, normalisation, projections, feed-forward layers) it does once a node. Attention alone sees
whole conversations: there each row's nodes are laid side by side (``amend.policy.attention``). In exact arithmetic
nothing changes, for a causal model's state at a token is a function of the tokens up to it:

    h(i, t) = f(tokens[i, :t + 1]),     so  tokens[i, :t + 1] = tokens[j, :t + 1]  =>  h(i, t) = h(j, t),

and the gradient of a shared state is the sum of its rows' gradients.

Source: shared-prefix attention in inference, as in Hydragen (Juravsky et al. 2024); here for the update as well.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn


class PrefixTree(NamedTuple):
    """The n nodes of b conversations of up to t tokens.

    node:      which node each token is; 0, a node like any other, where there is no token
    place:     where in the rectangle, its rows one after the other, each node is found: one of the places it has
    tokens:    of each node
    positions: of each node in its conversations
    """

    node: Int[Tensor, "b t"]
    place: Int[Tensor, " n"]
    tokens: Int[Tensor, " n"]
    positions: Int[Tensor, " n"]

    def layout(self) -> Int[Tensor, "1 2 b t"]:
        """``node`` and ``place`` in one tensor of four dimensions, which a transformers model hands to its attention
        as it is, in the place of a mask."""
        place = self.place.new_zeros(self.node.numel())
        place[: len(self.place)] = self.place
        return torch.stack([self.node, place.view_as(self.node)])[None]


def build_prefix_tree(tokens: Int[Tensor, "b t"], lengths: Int[Tensor, " b"]) -> PrefixTree:
    """The prefix tree of rows of ``lengths[i]`` >= 1 tokens each; what stands behind them is not looked at."""
    rows, size = tokens.cpu().numpy(), lengths.cpu().numpy()
    b, t = rows.shape
    time = np.arange(t)
    within = time < size[:, None]
    order = np.lexsort(np.where(within, rows, -1).T[::-1])  # conversations that begin alike stand next to each other
    ordered, inside = rows[order], within[order]
    common = np.zeros(b, dtype=np.int64)  # how many tokens a row begins with as the row before it does
    common[1:] = np.cumprod((ordered[1:] == ordered[:-1]) & inside[1:] & inside[:-1], axis=1).sum(axis=1)
    new = inside & (time >= common[:, None])
    owner = np.maximum.accumulate(np.where(time >= common[:, None], np.arange(b)[:, None], 0), axis=0)
    number = np.cumsum(new).reshape(b, t) - 1
    node = np.empty((b, t), dtype=np.int64)
    node[order] = np.where(inside, number[owner, time], 0)
    row, position = np.nonzero(new)
    place = order[row] * t + position
    device = tokens.device
    return PrefixTree(
        torch.from_numpy(node).to(device),
        torch.from_numpy(place).to(device),
        torch.from_numpy(rows.reshape(-1)[place]).to(device),
        torch.from_numpy(position).to(device),
    )


def gather_conversations(states: Tensor, node: Int[Tensor, "b t"]) -> Tensor:
    """[1 heads n d] of nodes as [b heads t d] of conversations. (``embedding``, for its gradient adds up fast.)"""
    _, heads, n, d = states.shape
    flat = states.transpose(1, 2).reshape(n, heads * d)
    return nn.functional.embedding(node, flat).view(*node.shape, heads, d).transpose(1, 2)


def scatter_back(found: Tensor, place: Int[Tensor, " n"]) -> Tensor:
    """[b t heads d] of conversations as [1 n heads d] of nodes: each from one of the conversations it is in."""
    _, _, heads, d = found.shape
    return nn.functional.embedding(place, found.reshape(-1, heads * d)).view(1, -1, heads, d)


def tree_for_sampled(tokens: Int[Tensor, "b t"], loss_mask: Bool[Tensor, "b t"]) -> PrefixTree:
    """Build the prefix tree of what must be read to predict the sampled tokens.

    Args:
        tokens: conversations, padded on the right.
        sampled: which tokens were sampled.

    Returns:
        The tree of each conversation up to the position before its last sampled token.
    """
    before = loss_mask[:, 1:]
    last = torch.arange(1, before.shape[1] + 1, device=tokens.device) * before
    return build_prefix_tree(tokens[:, :-1], last.amax(dim=1).clamp(min=1))
