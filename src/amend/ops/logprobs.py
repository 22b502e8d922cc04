"""Log-probabilities, entropy and exact KL of sampled tokens, from hidden states, without ever holding [b, t, v].

Only positions where a token was sampled are pushed through the vocabulary, a chunk at a time; under autograd a chunk's
logits are dropped after the forward pass and computed again in the backward pass (a plain loop would keep them all).
Everything from the logits on is in float32, whatever the model computes in, and the temperature divides the logits,
so the numbers are those of the distribution that was sampled from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from amend.ops import kl

CHUNK = 2**24  # logits held at once: 64 MiB in float32

Head = Callable[[Tensor], Tensor]


class TokenLogprobs(NamedTuple):
    """For each token: log pi, log pi_ref, exact KL(pi || pi_ref) there, and the entropy of pi there (nats).

    ``ref_logp`` and ``kl`` are NaN where no reference was asked for: an unasked use is loud. ``hidden`` [n d] is what
    the n sampled tokens were predicted from, in the order of rows and time; None for a model that does not show it.
    """

    logp: Tensor
    ref_logp: Tensor
    kl: Tensor
    entropy: Tensor
    hidden: Tensor | None = None


def logprob_metrics(
    out: TokenLogprobs, loss_mask: Bool[Tensor, "b t"], turn: Int[Tensor, "b t"], behaviour: Float[Tensor, "b t"]
) -> dict[str, float]:
    """Sums over sampled tokens: entropy, gap (|log pi of trainer - of sampler|), and each turn's KL if it was read."""
    sums = {
        "entropy": float(out.entropy.detach()[loss_mask].sum()),
        "sampling/logp_difference": float((out.logp.detach() - behaviour)[loss_mask].abs().sum()),
    }
    for k in range(int(turn.max()) + 1):
        here = out.kl.detach()[loss_mask & (turn == k)]
        kl_sum = float(here.sum())
        if len(here) and not math.isnan(kl_sum):  # a turn that nothing was trained in has none
            sums[f"kl_t{k + 1}"] = kl_sum
    return sums


def _chunk(
    hidden: Tensor,
    target: Tensor,
    temperature: float | Tensor,
    head: Head,
    ref_hidden: Tensor | None,
    ref_head: Head | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = torch.log_softmax(head(hidden).float() / temperature, dim=-1)
    logp = rows.gather(1, target[:, None])[:, 0]
    entropy = -(rows.exp() * rows).nan_to_num(nan=0.0).sum(-1)
    if ref_hidden is None or ref_head is None:
        nothing = torch.full_like(logp, torch.nan)
        return logp, nothing, nothing, entropy
    with torch.no_grad():
        ref_rows = torch.log_softmax(ref_head(ref_hidden).float() / temperature, dim=-1)
    return logp, ref_rows.gather(1, target[:, None])[:, 0], kl.exact(rows, ref_rows), entropy


def token_logprobs(
    hidden: Float[Tensor, "n d"],
    target: Int[Tensor, " n"],
    temperature: float | Float[Tensor, "n 1"],
    head: Head,
    ref_hidden: Float[Tensor, "n d"] | None,
    ref_head: Head | None,
    vocabulary: int,
) -> TokenLogprobs:
    """Likelihood of ``target[i]`` given the hidden state that predicts it; each field is [n]."""
    rows = max(1, CHUNK // vocabulary)
    if len(target) <= rows:
        return TokenLogprobs(*_chunk(hidden, target, temperature, head, ref_hidden, ref_head))
    parts = []
    for at in range(0, len(target), rows):
        cut = slice(at, at + rows)
        ref = None if ref_hidden is None else ref_hidden[cut]
        heat = temperature[cut] if isinstance(temperature, Tensor) else temperature
        parts.append(checkpoint(_chunk, hidden[cut], target[cut], heat, head, ref, ref_head, use_reentrant=False))
    return TokenLogprobs(*(torch.cat(part) for part in zip(*parts, strict=True)))
