"""``init``: the policy at the beginning of a run, pretrained or fine-tuned on given solutions.

Havrilla et al. (2024) start every algorithm from the pretrained model and from a fine-tuned one, and vary the epochs of
the fine-tuning: more epochs raise accuracy and lower pass@96. The result is the base model of the run: the reference of
its KL, and the model that it is compared with. Fine-tuning samples nothing and does not count towards the budget.
"""

from __future__ import annotations

from typing import Any

import torch

from amend.algo.sft import SFT
from amend.components import Components
from amend.results.run_folder.folder import RunFolder
from amend.training.auxiliary_run import run_auxiliary
from amend.value_types import Count, Positive

NAME = "checkpoints/init.pt"


class Pretrained:
    """``init=pretrained``."""

    def __call__(self, components: Components, folder: RunFolder, seed: int, max_tokens: int) -> None:
        """Leave the policy as it is."""


class Sft:
    """``init=sft``: fine-tune on solutions of the training set.

    Args:
        problems: The number of solutions.
        update_epochs: Passes over them.
        num_minibatches: Optimizer steps of a pass.
        lr: The learning rate, which falls linearly to 0.
    """

    def __init__(self, *, problems: Count, update_epochs: Count, num_minibatches: Count, lr: Positive) -> None:
        self._keys: dict[str, Any] = {
            "groups_per_batch": problems,
            "update_epochs": update_epochs,
            "num_minibatches": num_minibatches,
            "lr": lr,
        }

    def __call__(self, components: Components, folder: RunFolder, seed: int, max_tokens: int) -> None:
        """Fine-tune the policy and make it the reference; a resumed run loads the weights from its folder."""
        path = folder.path / NAME
        if path.exists():
            components.policy.lm.load_state_dict(
                torch.load(path, weights_only=True, map_location=components.policy.device)
            )
        else:
            run_auxiliary(components, SFT, seed, max_tokens=max_tokens, group_size=1, init_from="last", **self._keys)
            folder.write(NAME, lambda path: torch.save(components.policy.lm.state_dict(), path))
        components.policy.freeze_reference()
        components.runner.sync_weights()
