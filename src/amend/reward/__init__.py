"""Reward components, one file each, and ``CompositeReward``, which adds them and reports their failures."""

from amend.reward.base import Reward
from amend.reward.composite import CompositeReward

__all__ = ["CompositeReward", "Reward"]
