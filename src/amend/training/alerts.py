"""Alerts: rules over metrics.jsonl and over the final evaluation.

Each rule compares a mean over the last ``window`` iterations with a threshold, so that a single outlier does not raise
an alert. One more rule checks the final evaluation. Each rule raises at most one alert per run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from amend.results.analysis.diagnostics import sampling_efficiency_gap
from amend.results.run_folder.folder import RunFolder
from amend.results.run_folder.reader import lines

Row = Mapping[str, Any]


class Alert(NamedTuple):
    """An alert: its rule, the iteration (0: at the end of the run), and a sentence that says what to do."""

    name: str
    iteration: int
    text: str


@dataclass(frozen=True, kw_only=True)
class AlertThresholds:
    """The threshold of each rule.

    Attributes:
        window: The number of iterations over which a metric is averaged.
        clip_ratio: The largest share of replies that reach the length limit, in a single iteration.
        frac_reward_zero_std: The largest share of groups whose samples have equal rewards, in a single iteration.
        entropy: The smallest share of the first window's token entropy.
        kl: The largest KL divergence from the base model, in nats per episode.
        unedited: The largest share of second attempts with an edit distance ratio below 0.1.
        sampling_efficiency_gap: The largest difference of the base model's pass@k and the trained model's pass@1 in the
            final evaluation.
    """

    window: int
    clip_ratio: float
    frac_reward_zero_std: float
    entropy: float
    kl: float
    unedited: float
    sampling_efficiency_gap: float


class AlertRules:
    """Applies the rules to the lines of a run, in order, and raises each alert once."""

    def __init__(self, limits: AlertThresholds) -> None:
        self._limits = limits
        self._rows: list[Row] = []  # of the current window
        self._entropy: float | None = None  # of the first window
        self._raised: set[str] = set()

    def look(self, row: Row) -> list[Alert]:
        """Return the alerts that this line of metrics.jsonl is the first to raise."""
        limits = self._limits
        found = [
            self._once("clip_ratio", row) if row.get("response_length/clip_ratio", 0.0) > limits.clip_ratio else None
        ]
        found += [
            self._once("frac_reward_zero_std", row)
            if row.get("frac_reward_zero_std", 0) > limits.frac_reward_zero_std
            else None
        ]
        self._rows = [*self._rows, row][-limits.window :]
        if len(self._rows) == limits.window:
            entropy, kl, unedited = self._mean("entropy"), self._kl(), self._mean("unedited")
            if self._entropy is None and entropy is not None:
                self._entropy = entropy
            if entropy is not None and self._entropy is not None and entropy < limits.entropy * self._entropy:
                found.append(self._once("entropy", {**row, "entropy": entropy, "first": self._entropy}))
            if kl is not None and kl > limits.kl:
                found.append(self._once("kl", {**row, "kl": kl}))
            if unedited is not None and unedited > limits.unedited:
                found.append(self._once("unedited", {**row, "unedited": unedited}))
        return [alert for alert in found if alert is not None]

    def judge(self, lost: float, k: int) -> list[Alert]:
        """Return the alert of the final evaluation; ``lost`` is ΔSE, pass@``k`` of the base - pass@1 of the trained."""
        if lost <= self._limits.sampling_efficiency_gap:
            return []
        alert = self._once("sampling_efficiency_gap", {"iteration": 0, "lost": lost, "k": k})
        return [alert] if alert else []

    def ended(self, row: Row) -> list[Alert]:
        """Return the alert of a run that ends before its final stage; ``row`` is its last line."""
        alert = self._once("stage", {**row, "iteration": 0}) if not row.get("final_stage", True) else None
        return [alert] if alert else []

    def _mean(self, name: str) -> float | None:
        values = [float(row[name]) for row in self._rows if name in row]
        return sum(values) / len(values) if values else None

    def _kl(self) -> float | None:
        """Return the KL of an episode, summed over its turns and averaged over the window, or None without a KL."""
        names = {name for row in self._rows for name in row if name.startswith("kl_t")}
        return sum(value for name in names if (value := self._mean(name)) is not None) if names else None

    def _once(self, name: str, values: Row) -> Alert | None:
        if name in self._raised:
            return None
        self._raised.add(name)
        return Alert(name, int(values["iteration"]), TEXTS[name].format(row=values, **values))


TEXTS = {
    "clip_ratio": (
        "{row[response_length/clip_ratio]:.0%} of replies are cut at the length limit and can hardly be right: "
        "raise algo.max_tokens"
    ),
    "frac_reward_zero_std": (
        "in {frac_reward_zero_std:.0%} of groups all samples have equal rewards and teach nothing: problems too easy "
        "or too hard (task.levels), or too few samples (algo.group_size)"
    ),
    "entropy": (
        "token entropy has fallen to {entropy:.3f} nats from {first:.3f}: the policy repeats itself and stops "
        "exploring; try entropy=bonus, or a smaller algo.lr"
    ),
    "kl": (
        "the policy is {kl:.1f} nats per episode from the base model and may be exploiting its reward: read its "
        "replies; a larger KL weight or a smaller algo.lr holds it back"
    ),
    "unedited": (
        "{unedited:.0%} of second attempts hardly edit the first: the policy has stopped correcting itself, "
        "which SCoRe's Stage I is there to prevent (algo=score)"
    ),
    "stage": (
        "the run ended in Stage {stage}, before Stage II: lower algo.stage1_iterations, or make the run longer "
        "(algo.num_iterations, budget)"
    ),
    "sampling_efficiency_gap": (
        "pass@{k} of the base model is {lost:.0%} above pass@1 of the trained model: sampling the base model often "
        "solves problems that training did not"
    ),
}


def collect_alerts(folder: RunFolder, columns: dict[str, list[Any]], limits: AlertThresholds) -> dict[str, Any]:
    """Return ``alerts`` of the run, and ``sampling_efficiency_gap`` if there are many attempts per problem."""
    gap = sampling_efficiency_gap(columns)
    rules = AlertRules(limits)
    rows = list(lines(folder.path / "metrics.jsonl"))
    alerts = [alert for row in rows for alert in rules.look(row)] + (rules.ended(rows[-1]) if rows else [])
    alerts += rules.judge(gap["mean"], int(gap["k"])) if gap else []
    return {"alerts": [alert._asdict() for alert in alerts], **({"sampling_efficiency_gap": gap} if gap else {})}
