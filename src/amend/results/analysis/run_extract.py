"""Extract from each run of a report what the report needs: metrics per problem, curves, and the condition.

Runs are read one after another, so that a sweep of many runs fits in memory. Runs with the same configuration hash
form one condition; the hash is of everything that changes the outcome except the seed. It is in summary.json, and in
the names of older run folders. A folder without it belongs to the condition of its algorithm and task.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from amend.results.analysis.metric_registry import EDIT_DISTANCE_BINS, PER_PROBLEM_RATES, WIDE
from amend.results.analysis.rliable_aggregates import subject_scores
from amend.results.analysis.run_metrics import figures
from amend.results.metrics import confidence, pass_at_k, self_correction
from amend.results.metrics.episode_table import EpisodeTable, select
from amend.results.run_folder.reader import Run, read_run

GREEDY = {name: ("survival", "second_attempt", "steps", name) for name in ("error", "predicted", "correct")}
MANY = {name: ("diversity", "t1", "all", "within", name, "mean") for name in ("ead", "self_bleu", "answer_entropy")}


def rates(greedy: EpisodeTable) -> dict[str, Float[np.ndarray, " p"]]:
    """``RATES`` of greedy attempts, a number a problem; those that are of nothing are left out."""
    if not len(greedy):
        return {}
    right = greedy.correct[:, 0]
    sure = confidence.mean_logp(greedy.logp[:, 0, 0], greedy.tokens[:, 0, 0])
    surer = confidence.auroc_by_problem(sure, right[:, 0])
    found = self_correction.rates(right[:, 0], right[:, 1]) if greedy.turns > 1 else {}
    return found | ({} if np.isnan(surer).any() else {"auroc": surer})


def beyond(summary: Mapping[str, Any], phase: str) -> dict[str, float]:
    """What a summary has of ``BEYOND`` for a phase ("base", "trained"): of many attempts those of the widest table."""
    many: Mapping[str, Any] = next((summary[key] for key in ("wide", "sampled") if summary.get(key)), {})
    found = {name: _at(summary.get(phase), path) for name, path in GREEDY.items()}
    found |= {name: _at(many.get(phase), path) for name, path in MANY.items()}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


FOLDER = re.compile(
    r"(?P<hash>[0-9a-f]{8})-s\d+(?:-(?P<again>\d+))?"
)  # the name of a run folder, for runs of older versions
COST = {
    "sampled_tokens": "sampled tokens",
    "episodes": "episodes",
    "optimizer_steps": "optimizer steps",
    "seconds": "seconds",
}
MOST_VOTES = 16  # beyond, the exact count of votes takes seconds a run, and only all samples are voted on
Measured = tuple[tuple[str, ...], Float[np.ndarray, " _"]]  # the problems, and a value each


@dataclass(frozen=True)
class RunExtract:
    """What is kept of one run: each figure on each problem, by phase, and its curves."""

    folder: Path
    key: tuple[str, ...]
    again: int
    algo: str
    task: str
    seed: int
    command: str
    config: str
    commit: str
    cost: Mapping[str, float]
    metrics: Sequence[Mapping[str, Any]]
    subjects: frozenset[str]
    by_subject: Mapping[str, float]
    """Accuracy of the trained model's last greedy attempt on each subject's problems."""
    values: Mapping[str, Mapping[str, Measured]]
    """By phase: name -> (problems, a value each)."""
    edits: Mapping[str, Float[np.ndarray, " bins"]]
    beyond: Mapping[str, Mapping[str, float]]
    """By phase: what the run's summary holds of ``beyond.BEYOND``."""


def extract_runs(run: Run) -> RunExtract | None:
    """What is kept of a finished run; None for one that has not finished."""
    if not run.summary.get("algo"):
        return None
    cost = run.summary.get("cost") or {}
    task, algo = str(run.summary.get("task", "")), str(run.summary["algo"])
    named = FOLDER.fullmatch(run.folder.name)
    phases = ("base", "trained")
    greedy = {phase: select(run.episodes, phase, "greedy") for phase in phases}
    edited = {
        phase: self_correction.histogram(
            self_correction.edit_distance(t.text[:, :, 0], t.text[:, :, 1]), EDIT_DISTANCE_BINS
        )
        for phase, t in greedy.items()
        if t.turns > 1
    }
    return RunExtract(
        folder=run.folder,
        key=(task, algo, str(run.summary.get("config_hash") or (named["hash"] if named else ""))),
        again=int(named["again"] or 1) if named else 1,
        algo=algo,
        task=task,
        seed=int(run.summary.get("seed", -1)),
        command=str(run.versions.get("command", "")),
        config=run.config,
        commit=str(run.versions.get("commit") or ""),
        cost={key: float(cost[key]) for key in COST if key in cost},
        metrics=run.metrics,
        subjects=frozenset(str(subject) for t in greedy.values() for subject in t.subject.tolist()) - {""},
        values={phase: _values(run, phase) for phase in phases},
        edits=edited,
        by_subject=subject_scores(greedy["trained"]),
        beyond={phase: beyond(run.summary, phase) for phase in phases},
    )


def _values(run: Run, phase: str) -> dict[str, Measured]:
    """Each figure of a phase with the problems it was measured on."""
    greedy, wide = select(run.episodes, phase, "greedy"), select(run.episodes, phase, "wide")
    narrow, broad = _names(greedy), _names(wide)
    found = figures(run, phase)
    values: dict[str, Measured] = {key: (broad if key in WIDE else narrow, value) for key, value in found.items()}
    values |= {name: (narrow, value) for name, value in rates(greedy).items()}
    if len(wide):
        correct, answer = wide.correct[:, :, 0], wide.answer[:, :, 0]
        for k in _ks(correct.shape[1]):
            values[f"pass@{k}"] = (broad, pass_at_k.pass_at_k(correct, k))
            if k <= MOST_VOTES:
                values[f"maj@{k}"] = (broad, pass_at_k.maj_at_k(answer, correct, k))
        values[f"maj@{correct.shape[1]}"] = (broad, found["maj"])
    return values


def _names(table: EpisodeTable) -> tuple[str, ...]:
    return tuple(map(str, table.problem.tolist()))


def _ks(n: int) -> list[int]:
    """1, 2, 4, ... and n itself."""
    return sorted({*(2**i for i in range(n.bit_length()) if 2**i <= n), n})


def gather(folders: Sequence[Path], visit: Callable[[Run, RunExtract], None] | None = None) -> list[RunExtract]:
    """What is kept of each run, read one at a time; ``visit(run, findings)`` looks at the whole run as it passes."""
    kept = []
    for folder in folders:
        run = read_run(folder)
        found = extract_runs(run)
        if found is not None:
            kept.append(found)
            if visit is not None:
                visit(run, found)
    return kept


def grouped(found: Sequence[RunExtract]) -> list[list[RunExtract]]:
    """Runs by configuration, groups in the order of their first run, each by seed; of one seed the newest counts."""
    groups: dict[tuple[str, ...], dict[int, RunExtract]] = {}
    for run in found:
        seeds = groups.setdefault(run.key, {})
        if run.seed not in seeds or run.again > seeds[run.seed].again:
            seeds[run.seed] = run
    return [[seeds[seed] for seed in sorted(seeds)] for seeds in groups.values()]


def stacks_of(runs: Sequence[RunExtract], phase: str) -> dict[str, Float[np.ndarray, "s _"]]:
    """Stack the values of all runs, for every metric that all runs have.

    Args:
        runs: The runs of one condition, one per seed.
        phase: "base", "trained" or "gain" (trained minus base).

    Returns:
        By metric: one row per run, over the problems that all runs share.
    """
    of = [run.values[phase] if phase != "gain" else _gain(run) for run in runs]
    names = [name for name in of[0] if all(name in values for values in of)]
    names = [name for name in names if name not in PER_PROBLEM_RATES or len({values[name][0] for values in of}) == 1]
    stacked = {name: _common([values[name] for values in of]) for name in names}
    return {name: values for name, values in stacked.items() if values is not None}


def _common(measured: Sequence[Measured]) -> Float[np.ndarray, "s shared"] | None:
    """Several values a problem, as rows over the problems that stand in each."""
    if len({ids for ids, _ in measured}) == 1:
        return np.stack([value for _, value in measured]) if measured[0][0] else None
    shared = sorted(set.intersection(*(set(ids) for ids, _ in measured)))
    if not shared:
        return None
    places = [{problem: i for i, problem in enumerate(ids)} for ids, _ in measured]
    return np.stack([value[[at[p] for p in shared]] for at, (_, value) in zip(places, measured, strict=True)])


def _gain(run: RunExtract) -> dict[str, Measured]:
    """Trained less base on each problem that both were given."""
    both = {name: _pair(run, name) for name in run.values["trained"]}
    return {name: pair for name, pair in both.items() if pair is not None}


def _pair(run: RunExtract, name: str) -> Measured | None:
    """Trained less base on each problem that both were given."""
    if any(name not in run.values[phase] for phase in ("base", "trained")):
        return None
    (ids, before), (others, after) = run.values["base"][name], run.values["trained"][name]
    if ids == others:
        return ids, after - before
    at = {problem: i for i, problem in enumerate(ids)}
    mine = [i for i, problem in enumerate(others) if problem in at]
    shared = tuple(others[i] for i in mine)
    return (shared, after[mine] - before[[at[p] for p in shared]]) if shared else None
