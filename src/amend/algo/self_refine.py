"""Self-Refine (Madaan et al. 2023, arXiv 2303.17651): attempt, feedback by the same model, and another attempt.

    y1 ~ pi(. | x),   f ~ pi(. | x, y1, "what is wrong with it?"),   y2 ~ pi(. | x, y1, f, "now rewrite it")

The method is its dialogue (dialogue=self_refine); there is nothing else to it, and nothing is trained.
"""

from __future__ import annotations

from amend.algo.prompting import Prompting


class SelfRefine(Prompting):
    """Asks as the dialogue says."""

    required_dialogue = "self_refine"
