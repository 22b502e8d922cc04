"""What a run begins with: the policy as it is, or fine-tuned on given solutions first.

Havrilla et al. (2024) begin every algorithm once from the pretrained model and once from one that was fine-tuned on
solutions, and vary how many epochs that took: more of them raise accuracy and cost pass@96. What comes out of it is the
run's base model, which it is held to and compared with; it samples nothing and costs nothing of a budget.
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
    """Nothing comes before."""

    def __call__(self, components: Components, folder: RunFolder, seed: int, max_tokens: int) -> None:
        """The policy stays as it is."""


class Sft:
    """``problems`` solutions of the training set, ``epochs`` passes of ``updates`` steps; ``lr`` falls to nothing."""

    def __init__(self, *, problems: Count, update_epochs: Count, num_minibatches: Count, lr: Positive) -> None:
        self._knobs: dict[str, Any] = {
            "groups_per_batch": problems,
            "update_epochs": update_epochs,
            "num_minibatches": num_minibatches,
            "lr": lr,
        }

    def __call__(self, components: Components, folder: RunFolder, seed: int, max_tokens: int) -> None:
        """Fine-tune, and make the result the reference; a resumed run reads the weights that it kept."""
        path = folder.path / NAME
        if path.exists():
            components.policy.lm.load_state_dict(
                torch.load(path, weights_only=True, map_location=components.policy.device)
            )
        else:
            run_auxiliary(components, SFT, seed, max_tokens=max_tokens, group_size=1, init_from="last", **self._knobs)
            folder.write(NAME, lambda beside: torch.save(components.policy.lm.state_dict(), beside))
        components.policy.freeze_reference()
        components.runner.sync_weights()
