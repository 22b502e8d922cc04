"""Compute log-probabilities, entropy and exact KL of sampled tokens from hidden states.

The logits [b t v] of a batch never exist as one tensor. The output layer is applied only at positions that predict a
sampled token, one chunk at a time. Under autograd, the logits of a chunk are dropped after the forward pass and
recomputed in the backward pass. A loop without this recomputation would keep the logits of all chunks.

The logits and all later values are float32, in every precision of the model. The logits are divided by the
temperature, so the results belong to the distribution from which the tokens were sampled.
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

MAX_LOGITS = 2**24  # number of logits in memory at once, 64 MiB in float32

Head = Callable[[Tensor], Tensor]


class TokenLogprobs(NamedTuple):
    """Log-probabilities and related values of tokens, in nats.

    The first four fields have one number per token. Their shape is [n] for n sampled tokens, or [b t] with 0 at tokens
    that were not sampled.

    Attributes:
        logp: The log-probability log pi of the token.
        ref_logp: The log-probability log pi_ref of the token; NaN if no reference was computed, so that an accidental
            use does not go unnoticed.
        kl: The exact KL(pi || pi_ref) at the token; NaN if no reference was computed.
        entropy: The entropy of pi at the token.
        hidden: The hidden states [n d] from which the n sampled tokens were predicted, ordered by row and time; None
            if the model does not expose them.
    """

    logp: Tensor
    ref_logp: Tensor
    kl: Tensor
    entropy: Tensor
    hidden: Tensor | None = None


def logprob_metrics(
    out: TokenLogprobs,
    loss_mask: Bool[Tensor, "b t"],
    turn: Int[Tensor, "b t"],
    sampling_logprobs: Float[Tensor, "b t"],
) -> dict[str, float]:
    """Return sums over the sampled tokens of a batch, for the metrics of an update.

    Args:
        out: The values of each token under the trainer's policy, each field [b t].
        loss_mask: True for the tokens that the policy sampled.
        turn: The turn of each token, counted from 0; -1 on padding.
        sampling_logprobs: The log-probabilities that the engine computed when it sampled the tokens.

    Returns:
        ``entropy``: the sum of entropies, in nats. ``sampling/logp_difference``: the sum of |log pi of the trainer -
        log pi of the engine|. ``kl_tN``: the sum of the KL in turn N, if a reference was computed.
    """
    sums = {
        "entropy": float(out.entropy.detach()[loss_mask].sum()),
        "sampling/logp_difference": float((out.logp.detach() - sampling_logprobs)[loss_mask].abs().sum()),
    }
    for k in range(int(turn.max()) + 1):
        turn_kl = out.kl.detach()[loss_mask & (turn == k)]
        kl_sum = float(turn_kl.sum())
        if len(turn_kl) and not math.isnan(kl_sum):  # a turn without trained tokens has no KL
            sums[f"kl_t{k + 1}"] = kl_sum
    return sums


def _compute_chunk(
    hidden: Tensor,
    target: Tensor,
    temperature: float | Tensor,
    head: Head,
    ref_hidden: Tensor | None,
    ref_head: Head | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return log pi, log pi_ref, KL and entropy of each token of one chunk."""
    logprobs = torch.log_softmax(head(hidden).float() / temperature, dim=-1)
    logp = logprobs.gather(1, target[:, None])[:, 0]
    entropy = -(logprobs.exp() * logprobs).nan_to_num(nan=0.0).sum(-1)
    if ref_hidden is None or ref_head is None:
        missing = torch.full_like(logp, torch.nan)
        return logp, missing, missing, entropy
    with torch.no_grad():
        ref_logprobs = torch.log_softmax(ref_head(ref_hidden).float() / temperature, dim=-1)
    return logp, ref_logprobs.gather(1, target[:, None])[:, 0], kl.exact(logprobs, ref_logprobs), entropy


def token_logprobs(
    hidden: Float[Tensor, "n d"],
    target: Int[Tensor, " n"],
    temperature: float | Float[Tensor, "n 1"],
    head: Head,
    ref_hidden: Float[Tensor, "n d"] | None,
    ref_head: Head | None,
    vocab_size: int,
) -> TokenLogprobs:
    """Return log-probability, entropy and KL of each target token, given the hidden state that predicts it.

    The log-probability is log softmax(head(hidden_i) / temperature_i)[target_i]. No gradient flows into the reference.

    Args:
        hidden: The hidden state that predicts each target. For a head that is the identity, d = v, the vocabulary size.
        target: The tokens whose log-probability is computed.
        temperature: The sampling temperature, one for all tokens or one for each; greater than 0.
        head: The output layer, from hidden states [m d] to logits [m v].
        ref_hidden: The hidden states of the reference model for the same targets; None: no reference.
        ref_head: The output layer of the reference model; None: no reference.
        vocab_size: The size v of the vocabulary, which determines the size of a chunk.

    Returns:
        The values of each target, each field [n]. ``ref_logp`` and ``kl`` are NaN without a reference. ``hidden`` is
        None.
    """
    rows = max(1, MAX_LOGITS // vocab_size)
    if len(target) <= rows:
        return TokenLogprobs(*_compute_chunk(hidden, target, temperature, head, ref_hidden, ref_head))
    chunks = []
    for start in range(0, len(target), rows):
        cut = slice(start, start + rows)
        ref = None if ref_hidden is None else ref_hidden[cut]
        divisor = temperature[cut] if isinstance(temperature, Tensor) else temperature
        chunks.append(
            checkpoint(_compute_chunk, hidden[cut], target[cut], divisor, head, ref, ref_head, use_reentrant=False)
        )
    return TokenLogprobs(*(torch.cat(field) for field in zip(*chunks, strict=True)))
