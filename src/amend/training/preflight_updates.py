"""Check an optimizer step and the weights of the sampler, for ``job=doctor``.

A step of size 0 must change nothing. A step of ``algo.lr`` must change the policy, reach the sampler, and leave the
reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from amend.algo.base import Algorithm, GenerationStrategy
from amend.batch import Batch, collate
from amend.policy.policy import Policy
from amend.training.preflight_checks import (
    EXACT,
    HALF,
    SEED,
    SHORT,
    CheckContext,
    CheckResult,
    collate_unscored,
    differences,
)
from amend.types import Episode, SamplingParams

REACH = 0.5  # share of the trained weights that one step of algo.lr must change


def updates(context: CheckContext) -> Iterator[CheckResult]:
    """Yield the results of a step of size 0, of a step of ``algo.lr``, of the reference, and of the sampler."""
    policy, batch = context.components.policy, collate(context.scored).to(context.components.policy.device)
    rows = (batch.tokens[:4], batch.loss_mask[:4], 1.0)
    before, first = _trained(policy), _sampled_logprobs(context)
    reference = policy.reference_logprobs(*rows)
    with torch.no_grad():
        starts_at_reference = torch.equal(reference, policy.logprobs(*rows))
    rate = (float(context.algorithm.lr) if isinstance(context.algorithm, Algorithm) else 0.0) or 1e-3

    yield _zero_step(context.algorithm, policy, batch, before)
    _nudge(policy, batch, rate)
    yield _step_size(policy, before, rate)
    _nudge(policy, batch, max(rate, 0.01))
    context.components.runner.sync_weights()
    yield _reference(starts_at_reference, torch.equal(policy.reference_logprobs(*rows), reference))
    yield _sampler(context, first)


def _zero_step(algorithm: GenerationStrategy, policy: Policy, batch: Batch, before: list[Tensor]) -> CheckResult:
    if isinstance(algorithm, Algorithm) and algorithm.online:
        with _optimizer(algorithm, 0.0):
            algorithm.optimize(batch, 1, 1, (0.0, 0.0))
    else:  # an imitation algorithm trains on selected traces, and not on the batch as it is
        _nudge(policy, batch, 0.0)
    changed = sum(not torch.equal(a, b) for a, b in zip(before, _trained(policy), strict=True))
    says = f"changes {changed} of {len(before)} tensors: report it, with this set-up" if changed else "changes nothing"
    return CheckResult("a step of size 0", not changed, says)


def _step_size(policy: Policy, before: list[Tensor], rate: float) -> CheckResult:
    pairs = list(zip(before, _trained(policy), strict=True))
    reach = sum(int((a != b).sum()) for a, b in pairs) / sum(a.numel() for a in before)
    wanted = REACH if policy.adapter is None else REACH / 2  # the first step of LoRA changes only B
    says = f"a step of {rate:g} changes {reach:.0%} of the trained weights"
    change = ": policy.dtype=float32 (forward passes stay in bfloat16 under policy.autocast), or tuning=lora"
    return CheckResult("a step of algo.lr", reach >= wanted, says if reach >= wanted else says + change)


def _reference(starts_at_reference: bool, stays: bool) -> CheckResult:
    if not starts_at_reference:
        return CheckResult("reference", False, "is not the policy before training: report it, with this set-up")
    says = "stays unchanged" if stays else "moves with the policy: tuning=full or lora"
    return CheckResult("reference", stays, says)


def _sampler(context: CheckContext, first: list[tuple[float, ...]]) -> CheckResult:
    """Check that the sampler uses the new weights, in which the same seeds have other log-probabilities."""
    policy = context.components.policy
    name = "the update and the sampler" if policy.adapter else "weights and the sampler"
    after = collate_unscored(_sample(context)).to(policy.device)
    difference = max(differences(policy, after, 1.0).values())
    has_moved = _sampled_logprobs(context) != first
    if has_moved and difference <= (HALF if policy.in_bfloat16 else EXACT):
        return CheckResult(name, True, f"the sampler has the trained weights (difference {difference:.1e})")
    says = f"the sampler is not the model that was trained (difference {difference:.1e}): rollout=local"
    return CheckResult(name, False, says)


def _sample(context: CheckContext) -> list[Episode]:
    problem = [context.scored[0].episode.problem]
    params = [SamplingParams(1.0, min(SHORT, int(context.cfg.algo.max_tokens)))]
    return context.components.runner(problem, 4, params, (SEED, 2))


def _sampled_logprobs(context: CheckContext) -> list[tuple[float, ...]]:
    return [episode.turns[0].reply.logp for episode in _sample(context)]


@contextmanager
def _optimizer(algorithm: Algorithm, rate: float) -> Iterator[None]:
    """Give the algorithm its optimizer, which Lightning's trainer would give, and another learning rate."""
    before, algorithm.lr = algorithm.lr, rate
    optimizer = algorithm.configure_optimizers()
    patched: Any = algorithm
    patched.optimizers = lambda *_, **__: optimizer
    try:
        yield
    finally:
        algorithm.lr = before
        del patched.optimizers


def _nudge(policy: Policy, batch: Batch, rate: float) -> None:
    """Take one Adam step that lowers the log-probability of the sampled tokens: a gradient that is zero nowhere."""
    optimizer = torch.optim.Adam([w for w in policy.lm.parameters() if w.requires_grad], lr=rate)
    rows = slice(0, max(1, policy.max_tokens_per_micro_batch // batch.tokens.shape[1]))
    logp = policy.logprobs(batch.tokens[rows], batch.loss_mask[rows], 1.0)
    (logp.sum() / batch.loss_mask[rows].sum()).backward()
    optimizer.step()
    optimizer.zero_grad()


def _trained(policy: Policy) -> list[Tensor]:
    return [w.detach().to("cpu", copy=True) for w in policy.lm.parameters() if w.requires_grad]
