"""What a round shows, from its scored episodes: the line of metrics.jsonl that is about behaviour.

Every figure is deterministic (times go elsewhere), so an interrupted and resumed run writes the same lines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amend.metric.collapse import NO_EDIT
from amend.metric.correction import edit_distance
from amend.task.grade import boxed
from amend.types import Scored


def measure(scored: Sequence[Scored]) -> dict[str, float]:
    """Share right at each turn (by the oracle's part of the reward, where there is one), the mean reward where it is
    another (``paid``), flips between the first two, change rate (of the text, where neither reply boxes an answer),
    share of second attempts that hardly edit the first, truncation, zero-variance groups (where groups
    are of several), mean length, and every other part of the reward."""
    right = np.array([s.parts.get("oracle", s.reward) for s in scored], dtype=float)
    b, k = right.shape
    row: dict[str, float] = {f"reward_t{i + 1}": float(right[:, i].mean()) for i in range(k)}
    paid = np.array([s.reward for s in scored], dtype=float)
    if not np.array_equal(paid, right):
        row |= {f"paid_t{i + 1}": float(paid[:, i].mean()) for i in range(k)}
    if k > 1:
        first, second = right[:, 0] > 0.5, right[:, 1] > 0.5
        row["i_to_c"] = float((~first & second).mean())
        row["c_to_i"] = float((first & ~second).mean())
        row["delta"] = row["i_to_c"] - row["c_to_i"]
        texts = [[turn.reply.text for turn in s.episode.turns[:2]] for s in scored]
        boxes = [[boxed(text) for text in pair] for pair in texts]
        answers = [box if any(box) else pair for box, pair in zip(boxes, texts, strict=True)]  # a program is its own
        pairs = np.array([pair for pair in texts if len(pair) > 1], dtype=object)
        row["no_edit"] = float((edit_distance(pairs[:, :1], pairs[:, 1:]) < NO_EDIT).mean()) if len(pairs) else 0.0
        row["change_rate"] = sum(one != two for one, two in answers) / b
    replies = [turn.reply for s in scored for turn in s.episode.turns]
    row["truncated"] = sum(reply.stop == "length" for reply in replies) / len(replies)
    row["tokens"] = sum(len(reply.tokens) for reply in replies) / len(replies)
    groups: dict[str, list[tuple[float, ...]]] = {}
    for s in scored:
        groups.setdefault(s.episode.problem.id, []).append(s.reward)
    several = [set(group) for group in groups.values() if len(group) > 1]  # one sample differs from nothing
    if several:
        row["zero_variance"] = sum(len(paid) == 1 for paid in several) / len(several)
    for name in scored[0].parts if k else ():
        if name != "oracle":  # that one is reward_t already
            part = np.array([s.parts[name] for s in scored], dtype=float).mean(axis=0)
            row |= {f"{name}_t{i + 1}": float(part[i]) for i in range(k)}
    return row
