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
    held = min(max(round(orm.held_out * len(problems)), 1), len(problems) - 1)
    if held < 1:
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

    at = (len(problems) - held) * orm.samples
    learnt, kept = readings[:at], readings[at:]
    if len({label for one in learnt for label in one.labels}) < 2:
        raise UserError(
            f"orm.problems={orm.problems}: {right.mean():.0%} of the replies are right, so there is nothing "
            f"to learn; allowed: more problems or orm.samples, or problems (task.levels) that are solved at times"
        )
    fit(model, learnt, orm.epochs, orm.minibatch, orm.lr, policy.max_tokens_per_micro_batch, cfg.seed)
    model.about |= {"held_out": figures(model, kept), "sampled_tokens": components.runner.sampled_tokens - before}
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
        where = [len(turn.prompt) - 1, *model.step_ends(turn)]
        hope = [float(right[k])] * len(where)
        if k == 0:
            hope[:-1] = [float((episode.problem.id, text) in hopeful) for text in prefixes(turn.reply.text)]
            hope = np.maximum.accumulate(hope[::-1])[::-1].tolist()
        places += where
        labels += hope
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
    asked: dict[tuple[str, str], Problem] = {}
    for episode in episodes:
        asked |= {(episode.problem.id, text): episode.problem for text in prefixes(episode.turns[0].reply.text)}
    keys = list(asked)

    def begin(problem: Problem, sample: int, samples: int) -> Prefill:
        return Prefill(keys[int(problem.id)][1], False)

    posed = [replace(problem, id=str(i)) for i, problem in enumerate(asked.values())]  # one problem per prefix
    ended = components.runner(posed, tries, [sampling_params], seed, begin)
    right = np.nan_to_num(correctness(components.task, ended)[:, 0])
    return {keys[int(episode.problem.id)] for episode, label in zip(ended, right, strict=True) if label}


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
        for at in range(0, len(order), minibatch):
            optimizer.zero_grad()
            backward(model, [readings[i] for i in order[at : at + minibatch]], max_tokens_per_micro_batch)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()


def backward(model: OutcomeModel, readings: Sequence[Reading], max_tokens_per_micro_batch: int) -> None:
    """Accumulate the gradient of the mean loss over all labelled prefixes, one micro-batch after another."""
    labelled = sum(len(one.labels) for one in readings)
    for piece in pieces([len(one.tokens) for one in readings], max_tokens_per_micro_batch):
        some = [readings[i] for i in piece]
        tokens, _ = rectangle([one.tokens for one in some])
        logits = model(tokens.to(model.body.device))
        said = torch.cat([logits[row, one.places] for row, one in enumerate(some)])
        labels = torch.tensor([label for one in some for label in one.labels], device=said.device)
        (binary_cross_entropy_with_logits(said, labels, reduction="sum") / labelled).backward()


def figures(model: OutcomeModel, readings: Sequence[Reading]) -> dict[str, dict[str, float | None]]:
    """Return accuracy at threshold 1/2, AUROC, number and share correct, of complete replies and of all prefixes."""
    read = model.read([one.tokens for one in readings])
    prefixes = [(p[i], label) for p, one in zip(read, readings) for i, label in zip(one.places, one.labels)]
    replies = [(p[i], dict(zip(one.places, one.labels))[i]) for p, one in zip(read, readings) for i in one.ends]
    found: dict[str, dict[str, float | None]] = {}
    for name, pairs in (("replies", replies), ("prefixes", prefixes)):
        p, label = np.array(pairs).T
        right = label > 0.5
        accuracy, share = float(((p > 0.5) == right).mean()), float(right.mean())
        found[name] = {"accuracy": accuracy, "auroc": auc(p, right), "n": len(pairs), "right": share}
    return found


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
    said = []
    for of, values in held_out.items():
        value = values[name]
        said.append(f"{'undefined' if value is None else f'{value:.3f}'} of {values['n']:,} {of}")
    return f"{name} on held-out problems: {', '.join(said)}"


def _ends(episode: Episode) -> list[int]:
    return [len(turn.prompt) + len(turn.reply.tokens) - 1 for turn in episode.turns]
