"""The registry of metrics: name, label, unit, range, direction and formula of each.

Tables, reports, W&B and the metric reference of the documentation read labels and ranges from here. A confidence interval
that exceeds the range of its metric is clipped: a t interval does not know that a share is at most 1.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from amend.results.stats.intervals import Interval


class Metric(NamedTuple):
    """One metric.

    Attributes:
        name: its key in summary.json, metrics.jsonl, results of sweeps and W&B.
        label: its name in tables and charts.
        unit: ``share`` (shown in percentage points), ``nats``, ``tokens``, ``count`` or ``number``.
        low: smallest possible value.
        high: largest possible value.
        better: whether a higher or a lower value is better; "" if neither.
        formula: its definition.
    """

    name: str
    label: str
    unit: Literal["share", "nats", "tokens", "count", "number"]
    low: float
    high: float
    better: Literal["higher", "lower", ""]
    formula: str


def _registry(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


EVALUATION = _registry(  # of the episode table; k attempts at each problem, turns 1 and 2
    Metric("acc_t1", "Acc@t1", "share", 0, 1, "higher", "mean over problems of 1{first attempt correct}"),
    Metric("acc_t2", "Acc@t2", "share", 0, 1, "higher", "mean over problems of 1{second attempt correct}"),
    Metric("delta", "Δ(t1,t2)", "share", -1, 1, "higher", "Acc@t2 - Acc@t1 = i→c - c→i (Kumar et al. 2024)"),
    Metric("i_to_c", "i→c", "share", 0, 1, "higher", "share of problems: first attempt wrong, second correct"),
    Metric("c_to_i", "c→i", "share", 0, 1, "lower", "share of problems: first attempt correct, second wrong"),
    Metric("gain", "Acc@t2 over the base's", "share", -1, 1, "higher", "Acc@t2 of the trained - of the base model"),
    Metric("gain_t1", "Acc@t1 over the base's", "share", -1, 1, "higher", "Acc@t1 of the trained - of the base model"),
    Metric("fix_rate", "fix rate", "share", 0, 1, "higher", "i→c / (1 - Acc@t1)"),
    Metric("break_rate", "break rate", "share", 0, 1, "lower", "c→i / Acc@t1"),
    Metric("change_rate", "answer changed", "share", 0, 1, "", "share of second answers that differ from the first"),
    Metric("copy_rate", "copied", "share", 0, 1, "", "share of second attempts whose text equals the first"),
    Metric("edit_distance", "edit distance", "share", 0, 1, "", "Levenshtein distance / sum of both lengths"),
    Metric("unedited", "edit distance < 0.1", "share", 0, 1, "", "share of second attempts with edit distance < 0.1"),
    Metric("mean", "mean of one", "share", 0, 1, "higher", "pass@1 of attempts at temperature 1"),
    Metric("maj", "maj@k", "share", 0, 1, "higher", "accuracy of the most frequent answer of k attempts"),
    Metric(
        "pass", "pass@k", "share", 0, 1, "higher", "1 - C(n-c, k) / C(n, k), c of n attempts correct (Chen et al. 2021)"
    ),
    Metric(
        "rerank", "rerank@k", "share", 0, 1, "higher", "accuracy of the attempt of k that a reward model ranks first"
    ),
    Metric(
        "unique", "unique", "number", 0, math.inf, "higher", "different correct solutions of a problem, by operations"
    ),
    Metric(
        "sampling_efficiency_gap",
        "ΔSE",
        "share",
        -1,
        1,
        "lower",
        "pass@k of the base - pass@1 of the trained model (Yue et al. 2025)",
    ),
    Metric("distinct_2", "distinct-2", "share", 0, 1, "higher", "different bigrams / bigrams of a problem's attempts"),
    Metric("ead", "EAD", "share", 0, 1, "higher", "expectation-adjusted distinct n-grams (Liu et al. 2022)"),
    Metric("self_bleu", "self-BLEU", "share", 0, 1, "lower", "mean BLEU of each attempt against the others"),
    Metric(
        "vendi",
        "Vendi score",
        "number",
        0,
        math.inf,
        "higher",
        "exp of the entropy of the similarity matrix's eigenvalues",
    ),
    Metric("answer_entropy", "entropy", "nats", 0, math.inf, "", "entropy of a problem's answers"),
    Metric("distinct_answers", "different answers", "number", 0, math.inf, "", "different answers to a problem"),
    Metric("auroc", "AUROC", "share", 0, 1, "higher", "P(log-probability per token of a correct > of a wrong attempt)"),
    Metric("step_excess", "excess", "share", -1, 1, "", "measured accuracy - (1-e)^n, n steps"),
    Metric("token_excess", "excess", "share", -1, 1, "", "measured accuracy - (1-e)^n, n tokens"),
    Metric(
        "right_per_1000_tokens",
        "correct replies for 1,000 tokens",
        "number",
        0,
        math.inf,
        "higher",
        "1000 correct / tokens",
    ),
    Metric(
        "unique_per_1000_tokens",
        "different correct solutions for 1,000 tokens",
        "number",
        0,
        math.inf,
        "higher",
        "1000 unique / tokens",
    ),
    Metric("per_1000", "for 1,000 given solutions", "share", -math.inf, math.inf, "higher", "1000 gain / solutions"),
    Metric(
        "per_100k_tokens", "for 100,000 sampled tokens", "share", -math.inf, math.inf, "higher", "100,000 gain / tokens"
    ),
    Metric("tokens", "tokens / reply", "tokens", 0, math.inf, "", "mean length of a reply"),
    Metric(
        "tokens_per_problem", "tokens / problem", "tokens", 0, math.inf, "lower", "tokens sampled to answer a problem"
    ),
)

TRAINING = _registry(  # of metrics.jsonl, one value for each iteration
    Metric("iteration", "iteration", "count", 1, math.inf, "", "iterations finished"),
    Metric(
        "progress", "progress", "share", 0, 1, "", "share of the run that is over, of its iterations or of its budget"
    ),
    Metric("accuracy_tN", "accuracy, turn N", "share", 0, 1, "higher", "share of turn-N replies that are correct"),
    Metric("reward_tN", "reward, turn N", "number", -math.inf, math.inf, "higher", "mean reward at turn N"),
    Metric("i_to_c", "i→c", "share", 0, 1, "higher", "share of episodes: turn 1 wrong, turn 2 correct"),
    Metric("c_to_i", "c→i", "share", 0, 1, "lower", "share of episodes: turn 1 correct, turn 2 wrong"),
    Metric("delta", "Δ(t1,t2)", "share", -1, 1, "higher", "i→c - c→i"),
    Metric("change_rate", "answer changed", "share", 0, 1, "", "share of episodes whose boxed answer changes"),
    Metric("unedited", "edit distance < 0.1", "share", 0, 1, "", "share of second attempts with edit distance < 0.1"),
    Metric("response_length/mean", "reply length", "tokens", 0, math.inf, "", "mean number of tokens of a reply"),
    Metric(
        "response_length/clip_ratio",
        "replies cut off",
        "share",
        0,
        1,
        "lower",
        "share of replies that reach algo.max_tokens",
    ),
    Metric(
        "frac_reward_zero_std",
        "groups with equal rewards",
        "share",
        0,
        1,
        "lower",
        "share of groups whose rewards are all equal",
    ),
    Metric(
        "sampling/logp_difference",
        "engine against trainer",
        "nats",
        0,
        math.inf,
        "lower",
        "mean |log pi of the trainer - of the engine|",
    ),
    Metric(
        "sampling/importance_ratio",
        "importance ratio",
        "number",
        0,
        math.inf,
        "",
        "mean of min(pi of the trainer / of the engine, cap)",
    ),
    Metric("entropy", "token entropy", "nats", 0, math.inf, "", "mean entropy of the policy at sampled tokens"),
    Metric(
        "kl_tN", "KL, turn N", "nats", 0, math.inf, "", "mean over episodes of the summed KL to the reference at turn N"
    ),
    Metric("loss", "loss", "number", -math.inf, math.inf, "", "the objective, summed with the token weights"),
    Metric("grad_norm", "gradient norm", "number", 0, math.inf, "", "norm of the gradient before clipping"),
    Metric(
        "rewards/accuracies",
        "pairs ranked correctly",
        "share",
        0,
        1,
        "higher",
        "DPO: share of pairs whose implicit reward prefers the chosen reply",
    ),
    Metric(
        "rewards/margins",
        "reward margin",
        "number",
        -math.inf,
        math.inf,
        "higher",
        "DPO: mean implicit reward of the chosen - of the rejected reply",
    ),
    Metric("num_traces", "traces", "count", 0, math.inf, "", "traces in the data set of an imitating algorithm"),
    Metric(
        "reward_errors",
        "reward errors",
        "count",
        0,
        math.inf,
        "lower",
        "episodes that a part of the reward could not score",
    ),
    Metric(
        "sampled_tokens", "sampled tokens", "count", 0, math.inf, "", "tokens sampled for training since the run began"
    ),
    Metric("episodes", "episodes", "count", 0, math.inf, "", "episodes played for training since the run began"),
    Metric("optimizer_steps", "optimizer steps", "count", 0, math.inf, "", "optimizer steps since the run began"),
)


def label(name: str) -> str:
    """Return the label of an evaluation metric, or its name if the registry does not know it."""
    metric = EVALUATION.get(name.split(".")[-1])
    return metric.label if metric else name


BEYOND = {  # what is shown: label, unit
    "fix_rate": ("fix rate", "points"),
    "break_rate": ("break rate", "points"),
    "ead": ("EAD", "points"),
    "self_bleu": ("self-BLEU", "points"),
    "answer_entropy": ("entropy", "number"),
    "auroc": ("AUROC", "points"),
    "error": ("e a step", "points"),
    "predicted": ("(1−e)^n", "points"),
    "correct": ("second attempts", "points"),
}
BEYOND_NOTE = (
    "Fix and break rate: share of wrong greedy first attempts that become correct, and of correct ones that become "
    "wrong. AUROC: how often a correct greedy first attempt has a higher log-probability per token than a wrong one. The "
    "others are means over seeds, without intervals. EAD, self-BLEU and entropy (of answers, nats): many first attempts "
    "at a problem. e: the error rate of a step, fitted to greedy first attempts; (1−e)^n: the accuracy that it predicts "
    "for second attempts with n steps; the next column has the measured accuracy."
)
PER_PROBLEM_RATES = ("fix_rate", "break_rate", "auroc")
HELD = ("acc_t1", "acc_t2", "delta", "maj", "pass")  # the metrics that are compared with the baseline's
FIGURES = {name: label(name) for name in ("acc_t1", "acc_t2", "delta", "i_to_c", "c_to_i")}
GREEDY = {**FIGURES, "acc_t1": "Acc@t1 = maj@1"}
WIDE = {"maj": "maj@{k}", "rerank": "rerank@{k}", "pass": "pass@{k}", "unique": "unique"}
SEED_FIGURES = {**FIGURES, "gain": label("gain"), "gain_t1": label("gain_t1")}  # gain_t1: of a dialogue of one turn
EDIT_DISTANCE_BINS = 10  # of the edit-distance histogram

LABELS = {
    "step_error": "e", "step_predicted": "predicted", "step_excess": "excess",
    "token_error": "e", "token_predicted": "predicted", "token_excess": "excess",
    "delta": "Δ(t1,t2)", "i_to_c": "i→c", "c_to_i": "c→i", "fixed_t2": "Acc@t2, first attempt the base's",
    "fixed_i_to_c": "i→c, first attempt the base's",
    "fix_rate": "corrected, of wrong ones", "break_rate": "broken, of correct ones",
    "auroc_t1": "first attempts", "auroc_t2": "second attempts",
    "unique_per_reply": "different right solutions for 100 replies",
    "right_per_1000_tokens": "right replies for 1,000 tokens",
    "unique_per_1000_tokens": "different right solutions for 1,000 tokens",
    "per_1000": "for 1,000 solutions given", "per_100k_tokens": "for 100,000 tokens sampled",
    "change_rate": "answer changed", "copy_rate": "copied", "edit_distance": "edit distance", "unedited": "moved < 0.1",
    "mean": "mean of one", "maj": "maj@k", "rerank": "rerank@k", "pass": "pass@k", "unique": "unique right solutions",
    "distinct_2": "distinct-2", "vendi": "Vendi score",
    "distinct_answers": "different answers",
    "parallel_32": "in parallel", "sequential_32": "corrected",
}  # fmt: skip

NUMBERS = tuple(name for name, metric in EVALUATION.items() if metric.unit == "number")
SIGNED = tuple(name for name, metric in EVALUATION.items() if metric.low < 0)


def metric_range(name: str) -> tuple[float, float]:
    """Return the smallest and the largest possible value of a metric; ``base.delta`` has the range of ``delta``."""
    metric = EVALUATION.get(name.split(".")[-1])
    return (metric.low, metric.high) if metric else (0.0, 1.0)


def clip_interval(interval: Interval, least: float, most: float) -> Interval:
    """Return the interval with its ends clipped to [least, most]."""
    return Interval(interval.mean, max(interval.low, least), min(interval.high, most))
