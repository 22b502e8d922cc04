"""Alarms: what quietly ruins a run, said while it can still be stopped.

Rules over the lines of metrics.jsonl, each a mean over a window of rounds so that one odd round is not cried about, and
one over the final evaluation. Every rule speaks once a run. The same lines give the same alarms, so a resumed run that
looks at its old lines first is where it was, and the summary can be made from the lines alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

Row = Mapping[str, Any]


class Alarm(NamedTuple):
    """What was noticed: which rule, in which round (0: at the end), and what to do, in a sentence."""

    name: str
    round: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Where each rule speaks.

    window:         rounds that a figure is averaged over
    truncated:      share of replies cut at the length limit, in any one round
    zero_variance:  share of groups whose samples were all paid alike, in any one round
    entropy:        share of the first window's token entropy that is left
    kl:             nats an episode that the policy is from the base model, its turns together
    no_edit:        share of second attempts that hardly edit the first (edit distance ratio below 0.1)
    lost_reach:     pass@k of the base model less pass@1 of the trained one, in the final evaluation
    """

    window: int
    truncated: float
    zero_variance: float
    entropy: float
    kl: float
    no_edit: float
    lost_reach: float


class Alarms:
    """Looks at a run's lines in order and remembers what it has said."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rows: list[Row] = []  # of the present window
        self._entropy: float | None = None  # of the first one
        self._said: set[str] = set()

    def look(self, row: Row) -> list[Alarm]:
        """The alarms that this line is the first to raise."""
        limits = self._limits
        found = [self._once("truncated", row) if row.get("truncated", 0.0) > limits.truncated else None]
        found += [self._once("zero_variance", row) if row.get("zero_variance", 0.0) > limits.zero_variance else None]
        self._rows = [*self._rows, row][-limits.window :]
        if len(self._rows) == limits.window:
            entropy, kl, no_edit = self._mean("entropy"), self._kl(), self._mean("no_edit")
            if self._entropy is None and entropy is not None:
                self._entropy = entropy
            if entropy is not None and self._entropy is not None and entropy < limits.entropy * self._entropy:
                found.append(self._once("entropy", {**row, "entropy": entropy, "first": self._entropy}))
            if kl is not None and kl > limits.kl:
                found.append(self._once("kl", {**row, "kl": kl}))
            if no_edit is not None and no_edit > limits.no_edit:
                found.append(self._once("no_edit", {**row, "no_edit": no_edit}))
        return [alarm for alarm in found if alarm is not None]

    def judge(self, lost: float, k: int) -> list[Alarm]:
        """The alarm of the final evaluation; ``lost`` is delta SE, pass@``k`` (base) - pass@1 (trained)."""
        if lost <= self._limits.lost_reach:
            return []
        alarm = self._once("lost_reach", {"round": 0, "lost": lost, "k": k})
        return [alarm] if alarm else []

    def ended(self, row: Row) -> list[Alarm]:
        """The alarm of a run whose last line is of a stage that only prepares."""
        alarm = self._once("stage", {**row, "round": 0}) if str(row.get("stage", "")) not in ("", "II") else None
        return [alarm] if alarm else []

    def _mean(self, name: str) -> float | None:
        values = [float(row[name]) for row in self._rows if name in row]
        return sum(values) / len(values) if values else None

    def _kl(self) -> float | None:
        """Of whole episodes: the turns' sums together, averaged over the window; None where no line has one."""
        names = {name for row in self._rows for name in row if name.startswith("kl_t")}
        return sum(value for name in names if (value := self._mean(name)) is not None) if names else None

    def _once(self, name: str, values: Row) -> Alarm | None:
        if name in self._said:
            return None
        self._said.add(name)
        return Alarm(name, int(values["round"]), TEXTS[name].format(**values))


TEXTS = {
    "truncated": (
        "{truncated:.0%} of replies are cut at the length limit and can hardly be right: raise algo.max_tokens"
    ),
    "zero_variance": (
        "in {zero_variance:.0%} of groups all samples were paid alike and teach nothing: problems too easy or too hard "
        "(task.levels), or too few samples (algo.samples)"
    ),
    "entropy": (
        "token entropy has fallen to {entropy:.3f} nats from {first:.3f}: the policy repeats itself and stops "
        "exploring; try entropy=bonus, or a smaller algo.lr"
    ),
    "kl": (
        "the policy is {kl:.1f} nats an episode from the base model and may be exploiting its reward: read its "
        "replies; a larger KL weight or a smaller algo.lr holds it back"
    ),
    "no_edit": (
        "{no_edit:.0%} of second attempts hardly edit the first: the policy has stopped correcting itself, "
        "which SCoRe's Stage I is there to prevent (algo=score)"
    ),
    "stage": (
        "the run ended in Stage {stage}, which only prepares: Stage II never ran; lower algo.stage1_rounds, or give "
        "the run more (algo.rounds, budget)"
    ),
    "lost_reach": (
        "pass@{k} of the base model is {lost:.0%} above what the trained model reaches with one attempt: search over "
        "the base model finds what training did not"
    ),
}
