"""What a study shows beside accuracy: repair, spread, confidence, and errors a step against (1 - e)^n.

Repair and confidence are rates of some of the problems, told as a number a problem whose mean they are
(``metric.correction``, ``metric.confidence``), so they have intervals over seeds and problems; those numbers are of one
set of problems, so where runs met different ones they are left out. The others are figures of a whole table of
episodes, made once as the run ended (``breadth``): their means over seeds, as plain numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from amend.metric import confidence, correction
from amend.metric.table import Table

BEYOND = {  # what is shown: label, unit
    "fix_rate": ("fix rate", "points"),
    "break_rate": ("break rate", "points"),
    "ead": ("EAD", "points"),
    "self_bleu": ("self-BLEU", "points"),
    "answer_entropy": ("entropy", "number"),
    "auc": ("AUC", "points"),
    "error": ("e a step", "points"),
    "predicted": ("(1−e)^n", "points"),
    "correct": ("second attempts", "points"),
}
BEYOND_NOTE = (
    "Fix and break rate: of greedy first attempts wrong, mended; of those right, spoilt. AUC: how often a right greedy "
    "first attempt is likelier a token than a wrong one. The others are means over seeds, without intervals. EAD, "
    "self-BLEU and entropy (of answers, nats): many first attempts at a problem. e: the error a step fitted to greedy "
    "first attempts; (1−e)^n: what it says of second attempts, n the steps of both; beside it how many were right."
)
GREEDY = {name: ("survival", "second_attempt", "steps", name) for name in ("error", "predicted", "correct")}
RATES = ("fix_rate", "break_rate", "auc")
MANY = {name: ("diversity", "t1", "all", "within", name, "mean") for name in ("ead", "self_bleu", "answer_entropy")}


def rates(greedy: Table) -> dict[str, Float[np.ndarray, " p"]]:
    """``RATES`` of greedy attempts, a number a problem; those that are of nothing are left out."""
    if not len(greedy):
        return {}
    right = greedy.correct[:, 0]
    sure = confidence.mean_logp(greedy.logp[:, 0, 0], greedy.tokens[:, 0, 0])
    surer = confidence.auc_by_problem(sure, right[:, 0])
    found = correction.rates(right[:, 0], right[:, 1]) if greedy.turns > 1 else {}
    return found | ({} if np.isnan(surer).any() else {"auc": surer})


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
