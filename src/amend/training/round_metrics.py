"""Metrics of one iteration, from its scored episodes.

Every metric is deterministic (times go elsewhere), so an interrupted and resumed run writes the same lines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amend.results.metrics.self_correction import UNEDITED_BELOW, edit_distance
from amend.task.grading.extract_answer import extract_answer
from amend.types import Scored


def compute_round_metrics(scored: Sequence[Scored]) -> dict[str, float]:
    """Compute the metrics of one iteration's episodes, for one line of metrics.jsonl.

    Args:
        scored: The episodes of the iteration with their rewards.

    Returns:
        For each turn N: ``accuracy_tN``, the share of correct replies; ``reward_tN``, the mean reward; and the mean of
        each part of the reward. With two turns or more: ``i_to_c``, ``c_to_i``, ``delta``, ``change_rate`` (of the
        boxed answer, or of the text if neither reply boxes one) and ``unedited``. Always:
        ``response_length/clip_ratio``, ``response_length/mean`` (tokens), and ``frac_reward_zero_std`` if a problem
        has several episodes.
    """
    correct = np.array([s.correct for s in scored], dtype=float)
    b, k = correct.shape
    rewards = np.array([s.reward for s in scored], dtype=float)
    row: dict[str, float] = {f"accuracy_t{i + 1}": float(correct[:, i].mean()) for i in range(k)}
    row |= {f"reward_t{i + 1}": float(rewards[:, i].mean()) for i in range(k)}
    if k > 1:
        first, second = correct[:, 0] > 0.5, correct[:, 1] > 0.5
        row["i_to_c"] = float((~first & second).mean())
        row["c_to_i"] = float((first & ~second).mean())
        row["delta"] = row["i_to_c"] - row["c_to_i"]
        texts = [[turn.reply.text for turn in s.episode.turns[:2]] for s in scored]
        boxes = [[extract_answer(text) for text in pair] for pair in texts]
        answers = [
            box if any(box) else pair for box, pair in zip(boxes, texts, strict=True)
        ]  # a program without a box is its own answer
        pairs = np.array([pair for pair in texts if len(pair) > 1], dtype=object)
        row["unedited"] = (
            float((edit_distance(pairs[:, :1], pairs[:, 1:]) < UNEDITED_BELOW).mean()) if len(pairs) else 0.0
        )
        row["change_rate"] = sum(first_answer != second_answer for first_answer, second_answer in answers) / b
    replies = [turn.reply for s in scored for turn in s.episode.turns]
    row["response_length/clip_ratio"] = sum(reply.stop == "length" for reply in replies) / len(replies)
    row["response_length/mean"] = sum(len(reply.tokens) for reply in replies) / len(replies)
    groups: dict[str, list[tuple[float, ...]]] = {}
    for s in scored:
        groups.setdefault(s.episode.problem.id, []).append(s.reward)
    distinct = [set(group) for group in groups.values() if len(group) > 1]  # a single episode has no deviation
    if distinct:
        row["frac_reward_zero_std"] = sum(len(values) == 1 for values in distinct) / len(distinct)
    for name in scored[0].parts if k else ():
        part = np.array([s.parts[name] for s in scored], dtype=float).mean(axis=0)
        row |= {f"{name}_t{i + 1}": float(part[i]) for i in range(k)}
    return row
