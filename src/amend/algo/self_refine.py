"""Answer with Self-Refine: an attempt, feedback, and a second attempt (Madaan et al. 2023, arXiv 2303.17651).

    y1 ~ pi(. | x),   f ~ pi(. | x, y1, "what is wrong with it?"),   y2 ~ pi(. | x, y1, f, "now rewrite it")

The same model writes all three replies. ``dialogue=self_refine`` implements the whole method. It trains nothing.
"""

from __future__ import annotations

from amend.algo.prompting import Prompting


class SelfRefine(Prompting):
    """A prompting method that requires the dialogue ``self_refine``."""

    required_dialogue = "self_refine"
