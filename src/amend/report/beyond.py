"""What a run's summary holds beside accuracy: repair, spread, confidence, and errors a step against (1 - e)^n.

These are figures of a whole table of episodes, made once as the run ended (``breadth``), so a study has no problems to
resample for them: it shows their means over seeds as plain numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BEYOND = {  # what is shown: label, unit
    "fix_rate": ("fix rate", "points"),
    "break_rate": ("break rate", "points"),
    "ead": ("EAD", "points"),
    "self_bleu": ("self-BLEU", "points"),
    "answer_entropy": ("answer entropy", "number"),
    "auc": ("confidence AUC", "points"),
    "error": ("e a step", "points"),
    "predicted": ("(1−e)^n", "points"),
    "correct": ("second attempts", "points"),
}
BEYOND_NOTE = (
    "Means over seeds, without intervals. Fix and break rate: of greedy first attempts wrong, mended; of those right, "
    "spoilt. EAD, self-BLEU and answer entropy (nats): of many first attempts at a problem. AUC: how often a right "
    "greedy first attempt is likelier a token than a wrong one. e: the error a step fitted to greedy first attempts; "
    "(1−e)^n: what it says of second attempts, n the steps of both; beside it how many were right."
)
GREEDY = {
    "fix_rate": ("fix_rate",),
    "break_rate": ("break_rate",),
    "auc": ("confidence", "t1", "auc"),
    **{name: ("survival", "second_attempt", "steps", name) for name in ("error", "predicted", "correct")},
}
MANY = {name: ("diversity", "t1", "all", "within", name, "mean") for name in ("ead", "self_bleu", "answer_entropy")}


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
