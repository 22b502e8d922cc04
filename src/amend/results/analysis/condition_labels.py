"""Label the conditions of a report: by the algorithm and, if that is not enough, by the words that differ.

The words of a run's own command line are its user's words (``experiment=no_shaping``), so they are tried first. If
they do not distinguish the conditions, the differing values of the configurations do.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

QUIET = ("seed", "runs_dir", "logger", "resume", "algo", "job", "trainer", "compare", "run", "runs", "out", "to")
MOST = 3  # differing values that a label spells out

Named = tuple[str, str, str, str]  # algorithm, task, command line, config.yaml


def labels(conditions: Sequence[Named]) -> list[str]:
    """A different short name for each condition, in order."""
    tasks = {task for _, task, *_ in conditions}
    heads = [algo if len(tasks) == 1 else f"{algo} on {task}" for algo, task, *_ in conditions]
    labels = list(heads)
    for head in dict.fromkeys(heads):
        same_head = [i for i, other in enumerate(heads) if other == head]
        if len(same_head) > 1:
            for i, tail in zip(same_head, _tails([conditions[i] for i in same_head]), strict=True):
                labels[i] = f"{head} {tail}".strip()
    counts: dict[str, int] = {}
    for i, name in enumerate(labels):  # equal labels get a number
        counts[name] = counts.get(name, 0) + 1
        if counts[name] > 1:
            labels[i] = f"{name} #{counts[name]}"
    return labels


def _tails(same_head: Sequence[Named]) -> list[str]:
    """What tells conditions of one algorithm apart."""
    by_words = _differing([_words(command) for *_, command, _ in same_head])
    if len(set(by_words)) == len(same_head):
        return by_words
    return _differing([_flat(_parsed(config), "") for *_, config in same_head])


def _differing(given: Sequence[Mapping[str, str]]) -> list[str]:
    """The pairs of each mapping that not all have."""
    keys = [
        key for key in dict.fromkeys(key for one in given for key in one) if len({one.get(key) for one in given}) > 1
    ]
    short = [key.rpartition(".")[2] for key in keys]
    names = dict(zip(keys, short if len(set(short)) == len(keys) else keys, strict=True))
    said = []
    for one in given:
        pairs = [f"{names[key]}={one[key]}" for key in keys if one.get(key) not in (None, "null")]
        more = f" +{len(pairs) - MOST}" if len(pairs) > MOST else ""
        said.append(f"{' '.join(pairs[:MOST])}{more}")
    return said


def _words(command: str) -> dict[str, str]:
    """``key=value`` words of a command line, those that only say where or how it ran left out."""
    try:
        words = shlex.split(command)
    except ValueError:
        return {}
    pairs = (word.lstrip("+").partition("=") for word in words if "=" in word)
    return {key: value for key, _, value in pairs if key.partition(".")[0] not in QUIET or key.startswith("algo.")}


def _parsed(config: str) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.create(config))
    except Exception:  # fallback: the file is no configuration
        return {}


def _flat(node: Any, prefix: str) -> dict[str, str]:
    """Every value of a nested mapping by its dotted key."""
    if not isinstance(node, dict):
        return {prefix: str(node)} if prefix else {}
    flat: dict[str, str] = {}
    for key, value in node.items():
        dotted = f"{prefix}.{key}" if prefix else str(key)
        if dotted not in QUIET or dotted == "algo":
            flat |= _flat(value, dotted)
    return flat
