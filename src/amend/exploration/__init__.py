"""Exploration: the four levers on what a learner gets to see, each a small object that an algorithm is handed.

    temperature   how freely a turn is sampled, as the run goes on
    curriculum    which problems a round poses
    start         how an episode's first reply begins
    entropy       what keeps the policy from settling too early, in the loss itself

"Exploration is the fundamental problem" (Havrilla 2024, of reinforcement learning on reasoning), and most algorithms
leave it to the sampler's temperature alone. A lever goes with any algorithm that would notice it (``amend.rules`` names
those that would not); each group has a value that does nothing, which is the default.
"""

from __future__ import annotations

from typing import NamedTuple

from amend.exploration.curriculum import Curriculum
from amend.exploration.entropy import Entropy
from amend.exploration.prefill import PrefillStrategy
from amend.exploration.temperature import Temperature

__all__ = ["Curriculum", "Entropy", "Exploration", "PrefillStrategy", "Temperature"]


class Exploration(NamedTuple):
    """One of each, chosen in conf/temperature, conf/curriculum, conf/start and conf/entropy."""

    temperature: Temperature
    curriculum: Curriculum
    prefill: PrefillStrategy
    entropy: Entropy
