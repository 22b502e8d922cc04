"""Train an outcome reward model on replies of the policy: ``python run.py job=train_orm``.

The policy answers training problems, the task labels prefixes of the replies as correct or wrong, and the base model
learns to predict the label y from a prefix, as p:

    L = - mean over labelled prefixes of  y log p + (1 - y) log(1 - p)                      Cobbe et al. 2021

    kind=outcome    y of every prefix, from the empty one to the complete reply, is whether that reply is correct
    kind=step       y of the empty prefix and of each prefix that ends a step is whether any of K continuations is
                    correct (GLoRe, arXiv 2402.10963: an estimate of V*); y of the complete reply is whether it is
                    correct

A problem that can be solved from a longer prefix can be solved from a shorter one. The label of a step is therefore
also 1 if the label of a later step of the same reply is 1 (GLoRe's consistency). Only first replies are continued.
Under kind=step, the prefixes of later replies have the label of their own reply, at the ends of their steps.

Some problems are held out. The reported metrics are of these problems: over complete replies, which reranking uses, and
over all labelled prefixes, which a dense reward uses.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import rankdata
from torch.nn.functional import binary_cross_entropy_with_logits

from amend.errors import UserError
from amend.reward.oracle import correctness
from amend.reward.outcome_model import OutcomeModel, conversation, pieces, rectangle
from amend.solution_steps import split_steps
from amend.types import Episode, Prefill, Problem, SamplingParams, Tokens

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from amend.components import Components

STREAM = 7_000_005  # differs from the seeds of iterations and of evaluations


class Reading(NamedTuple):
    """A conversation with labelled prefixes.

    Attributes:
        problem: The id of the problem.
        tokens: The tokens of the conversation.
        places: The positions at which the labelled prefixes end.
        labels: Their labels: 1.0 for correct, 0.0 for wrong.
        ends: The positions at which replies end.
    """

    problem: str
    tokens: Tokens
    places: list[int]
    labels: list[float]
    ends: list[int]


def train_orm(components: Components, cfg: DictConfig) -> Path:
    """Sample, label and train, print the held-out metrics, and save the model.

    Args:
        components: The components of the run.
        cfg: The configuration; ``orm`` has the keys of the model.

    Returns:
        The folder ``orm.path``.

    Raises:
        UserError: If there are too few problems, or all labels are equal.
    """
    orm, policy = cfg.orm, components.policy
    problems = list(components.task.problems("train")[: orm.problems])
    num_held_out = min(max(round(orm.held_out * len(problems)), 1), len(problems) - 1)
    if num_held_out < 1:
        raise UserError(f"orm.problems={orm.problems}: {len(problems)} to train and to hold out; allowed: at least 2")
    assert policy.reference_lm is not None  # the configuration check refuses adapters here
    base = copy.deepcopy(policy.reference_lm.base_model).requires_grad_(True)
    model = OutcomeModel(base, policy.tokenizer, {"base": cfg.policy.path, "kind": orm.kind})

    sampling_params, before = SamplingParams(orm.temperature, cfg.algo.max_tokens), components.runner.sampled_tokens
    episodes = components.runner(problems, orm.samples, [sampling_params] * components.runner.turns, (cfg.seed, STREAM))
    right = np.nan_to_num(correctness(components.task, episodes))  # a reply that cannot be tested counts as wrong
    print(
        f"{len(episodes):,} conversations about {len(problems):,} problems sampled; {right.mean():.1%} of replies right"
    )
    if orm.kind == "step":
        hopeful = completable(components, episodes, sampling_params, orm.rollouts_per_step, (cfg.seed, STREAM + 1))
        readings = [by_step(model, e, r, hopeful) for e, r in zip(episodes, right, strict=True)]
    else:
        readings = [by_outcome(e, r) for e, r in zip(episodes, right, strict=True)]

    count = (len(problems) - num_held_out) * orm.samples
    train_set, test_set = readings[:count], readings[count:]
    if len({label for reading in train_set for label in reading.labels}) < 2:
        raise UserError(
            f"orm.problems={orm.problems}: {right.mean():.0%} of the replies are right, so there is nothing "
            f"to learn; allowed: more problems or orm.samples, or problems (task.levels) that are solved at times"
        )
    fit(model, train_set, orm.epochs, orm.minibatch, orm.lr, policy.max_tokens_per_micro_batch, cfg.seed)
    model.about |= {"held_out": figures(model, test_set), "sampled_tokens": components.runner.sampled_tokens - before}
    for name in ("accuracy", "auroc"):
        print(line(name, model.about["held_out"]))
    model.save(orm.path)
    return Path(orm.path)


def by_outcome(episode: Episode, right: Float[np.ndarray, " k"]) -> Reading:
    """Label every prefix of every reply with the correctness of the reply."""
    places: list[int] = []
    labels: list[float] = []
    for turn, label in zip(episode.turns, right, strict=False):
        first = len(turn.prompt) - 1  # the empty prefix
        places += range(first, first + len(turn.reply.tokens) + 1)
        labels += [float(label)] * (len(turn.reply.tokens) + 1)
    return Reading(episode.problem.id, conversation(episode), places, labels, _ends(episode))


def by_step(
    model: OutcomeModel, episode: Episode, right: Float[np.ndarray, " k"], hopeful: set[tuple[str, str]]
) -> Reading:
    """Label the empty prefix and those that end a step; for the first reply, by the results of continuations."""
    places: list[int] = []
    labels: list[float] = []
    for k, turn in enumerate(episode.turns):
        ends = [len(turn.prompt) - 1, *model.step_ends(turn)]
        turn_labels = [float(right[k])] * len(ends)
        if k == 0:
            turn_labels[:-1] = [float((episode.problem.id, text) in hopeful) for text in prefixes(turn.reply.text)]
            turn_labels = np.maximum.accumulate(turn_labels[::-1])[::-1].tolist()
        places += ends
        labels += turn_labels
    return Reading(episode.problem.id, conversation(episode), places, labels, _ends(episode))


def prefixes(reply: str) -> list[str]:
    """Return the prefixes of a reply that end with a step, the empty one first and without the complete reply."""
    return list(accumulate(split_steps(reply)[:-1], initial=""))


def completable(
    components: Components,
    episodes: Sequence[Episode],
    sampling_params: SamplingParams,
    tries: int,
    seed: tuple[int, ...],
) -> set[tuple[str, str]]:
    """Return (problem, prefix) for each first-reply prefix with a correct one among ``tries`` continuations."""
    problem_of: dict[tuple[str, str], Problem] = {}
    for episode in episodes:
        problem_of |= {(episode.problem.id, text): episode.problem for text in prefixes(episode.turns[0].reply.text)}
    keys = list(problem_of)

    def begin(problem: Problem, sample: int, samples: int) -> Prefill:
        return Prefill(keys[int(problem.id)][1], False)

    problems = [replace(problem, id=str(i)) for i, problem in enumerate(problem_of.values())]  # one problem per prefix
    continued = components.runner(problems, tries, [sampling_params], seed, begin)
    right = np.nan_to_num(correctness(components.task, continued)[:, 0])
    return {keys[int(episode.problem.id)] for episode, label in zip(continued, right, strict=True) if label}


def fit(
    model: OutcomeModel,
    readings: Sequence[Reading],
    epochs: int,
    minibatch: int,
    lr: float,
    max_tokens_per_micro_batch: int,
    seed: int,
) -> None:
    """Minimise the loss with AdamW; ``lr`` falls linearly to 0, and a step has ``minibatch`` conversations."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    total = epochs * -(-len(readings) // minibatch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / total)
    rng = np.random.default_rng(np.random.SeedSequence((seed, STREAM)))
    for _ in range(epochs):
        order = rng.permutation(len(readings))
        for begin in range(0, len(order), minibatch):
            optimizer.zero_grad()
            backward(model, [readings[i] for i in order[begin : begin + minibatch]], max_tokens_per_micro_batch)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()


def backward(model: OutcomeModel, readings: Sequence[Reading], max_tokens_per_micro_batch: int) -> None:
    """Accumulate the gradient of the mean loss over all labelled prefixes, one micro-batch after another."""
    num_labels = sum(len(reading.labels) for reading in readings)
    for piece in pieces([len(reading.tokens) for reading in readings], max_tokens_per_micro_batch):
        micro_batch = [readings[i] for i in piece]
        tokens, _ = rectangle([reading.tokens for reading in micro_batch])
        logits = model(tokens.to(model.body.device))
        predicted = torch.cat([logits[row, reading.places] for row, reading in enumerate(micro_batch)])
        labels = torch.tensor([label for reading in micro_batch for label in reading.labels], device=predicted.device)
        (binary_cross_entropy_with_logits(predicted, labels, reduction="sum") / num_labels).backward()


def figures(model: OutcomeModel, readings: Sequence[Reading]) -> dict[str, dict[str, float | None]]:
    """Return accuracy at threshold 1/2, AUROC, number and share correct, of complete replies and of all prefixes."""
    predicted = model.read([reading.tokens for reading in readings])
    prefixes = [(p[i], label) for p, r in zip(predicted, readings) for i, label in zip(r.places, r.labels)]
    replies = [(p[i], dict(zip(r.places, r.labels))[i]) for p, r in zip(predicted, readings) for i in r.ends]
    metrics: dict[str, dict[str, float | None]] = {}
    for name, pairs in (("replies", replies), ("prefixes", prefixes)):
        p, label = np.array(pairs).T
        right = label > 0.5
        accuracy, share = float(((p > 0.5) == right).mean()), float(right.mean())
        metrics[name] = {"accuracy": accuracy, "auroc": auc(p, right), "n": len(pairs), "right": share}
    return metrics


def auc(p: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]) -> float | None:
    """Return the probability that a correct item has a higher ``p`` than a wrong one, or None without both.

    Mann and Whitney 1947: (sum of the ranks of the correct items - m (m + 1) / 2) / (m (n - m)), with m of n correct.
    Ties count half.
    """
    m, n = int(right.sum()), len(right)
    if not 0 < m < n:
        return None
    return float((rankdata(p)[right].sum() - m * (m + 1) / 2) / (m * (n - m)))


def line(name: str, held_out: dict[str, dict[str, float | None]]) -> str:
    """Describe one metric, of complete replies and of all labelled prefixes."""
    parts = []
    for subset, values in held_out.items():
        value = values[name]
        parts.append(f"{'undefined' if value is None else f'{value:.3f}'} of {values['n']:,} {subset}")
    return f"{name} on held-out problems: {', '.join(parts)}"


def _ends(episode: Episode) -> list[int]:
    """Return the position of the last token of each reply."""
    return [len(turn.prompt) + len(turn.reply.tokens) - 1 for turn in episode.turns]
