"""A short auxiliary training run: it creates the policy before the main run (``init=sft``) or the student after it.

It runs one iteration of an ordinary algorithm, with the default exploration and the accuracy reward, under the seed of
the run. It writes no files.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from amend.algo.context import AlgorithmContext
from amend.algo.imitation import Imitation
from amend.components import Components
from amend.exploration import Exploration
from amend.exploration.curriculum import Uniform
from amend.exploration.entropy import NoEntropyTerm
from amend.exploration.prefill import NoPrefill
from amend.exploration.temperature import Constant
from amend.reward import CompositeReward
from amend.reward.oracle import Oracle
from amend.training.problem_dataset import ProblemDataset
from amend.types import Budget


def run_auxiliary(components: Components, algorithm: type[Imitation], seed: int, **values: Any) -> Imitation:
    """Train the policy with one iteration of ``algorithm``.

    The learning rate falls linearly to 0. Temperature, curriculum, prefill and entropy have their defaults, and the
    reward is correctness, independently of the run's own configuration.

    Args:
        components: The components of the run.
        algorithm: An algorithm that builds a data set and imitates it.
        seed: The seed of the run.
        **values: Keys of the algorithm that this function does not set.

    Returns:
        The algorithm after its iteration.
    """
    exploration = Exploration(Constant(value=[1.0]), Uniform(), NoPrefill(), NoEntropyTerm())
    reward = CompositeReward({"oracle": Oracle(components.task, weight=1.0)}, max_failures=1.0)
    budget = Budget(sampled_tokens=None, episodes=None)
    context = AlgorithmContext(components.policy, components.runner, reward, exploration, budget, seed)
    adam: dict[str, Any] = {"lr_scheduler_type": "linear", "warmup_steps": 0, "weight_decay": 0.0, "max_grad_norm": 1.0}
    trained = algorithm(context, num_iterations=1, turns=1, iterations=1, accumulate_data=False, **adam, **values)
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator=components.policy.device.type,
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(trained, torch.utils.data.DataLoader(ProblemDataset(components.task, trained), batch_size=None))
    components.runner.sync_weights()
    return trained
