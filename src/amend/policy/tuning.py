"""Choose the trained weights: all weights of the model (``full``) or a low-rank update (``lora``).

    full    trains every weight; the reference model is a frozen copy of the model
    lora    trains low-rank updates of weight matrices; the reference model is the same model without the update

LoRA (Hu et al. 2021, arXiv 2106.09685) initializes B to 0:

    W' = W + (alpha / rank) B A

With LoRA, memory holds one copy of the model, and a checkpoint holds the update only. The update has no dropout,
because dropout would make the trained policy differ from the policy that sampled.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from peft import LoraConfig
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from amend.errors import UserError
from amend.value_types import Count, Positive

POLICY, REFERENCE = "policy", "reference"  # names of the two adapters in PEFT


@runtime_checkable
class Tuning(Protocol):
    """A choice of trained weights."""

    def adapt(self, lm: PreTrainedModel) -> Adapter | None:
        """Prepare a loaded model for training. The policy calls this method once.

        Args:
            lm: The model, with its initial weights.

        Returns:
            The adapter that is trained instead of the model's weights; None if the weights themselves are trained.

        Raises:
            UserError: If the choice does not fit the model.
        """
        ...


class Full:
    """Train every weight."""

    def adapt(self, lm: PreTrainedModel) -> None:
        """Return None, because the weights of the model are trained."""
        return


class Lora:
    """Train a low-rank update of weight matrices.

    Args:
        rank: The rank of the update.
        alpha: The update is scaled by alpha / rank.
        targets: The last parts of the names of the matrices; ``all``: every matrix except embeddings and output layer.
    """

    def __init__(self, *, rank: Count, alpha: Positive, targets: list[str]) -> None:
        self._rank, self._alpha, self._targets = rank, alpha, targets

    def adapt(self, lm: PreTrainedModel) -> Adapter:
        """Add the update to a model.

        Args:
            lm: The model, with its initial weights.

        Returns:
            The adapter, which holds the trained update.

        Raises:
            UserError: If a target is not a matrix of the model, or is its embedding or output layer.
        """
        if "all" not in self._targets:
            self._check_targets(lm)
        config = LoraConfig(
            r=self._rank,
            lora_alpha=self._alpha,  # type: ignore[arg-type]  # PEFT annotates int, but only multiplies
            lora_dropout=0.0,
            target_modules="all-linear" if "all" in self._targets else list(self._targets),
            # GPT-2 stores transposed matrices.
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in lm.modules()),
        )
        return Adapter(lm, config)

    def _check_targets(self, lm: PreTrainedModel) -> None:
        """Raise UserError unless every target is the name of a matrix that can be updated."""
        embeddings = (lm.get_input_embeddings(), lm.get_output_embeddings())
        modules = {name.rpartition(".")[2]: module for name, module in lm.named_modules()}
        matrices = {
            name
            for name, module in modules.items()
            if module not in embeddings and getattr(module, "weight", None) is not None
        }
        matrices = {name for name in matrices if modules[name].weight.dim() == 2}
        unknown = [target for target in self._targets if target not in matrices]
        if unknown or not self._targets:
            raise UserError(
                f"tuning.targets={self._targets}: {', '.join(unknown) or 'an empty list'} is not a matrix of this "
                f"model that LoRA can update; allowed: all, or some of {', '.join(sorted(matrices))}"
            )


class Adapter:
    """A low-rank update inside a model.

    The policy is the model with the adapter ``policy``. The reference model is the model without an adapter, or with
    the adapter ``reference`` after ``set_reference``.
    """

    def __init__(self, lm: PreTrainedModel, config: LoraConfig) -> None:
        self._lm, self._config = lm, config
        lm.add_adapter(config, POLICY)
        self._cast_to_float32(POLICY)
        self.store_initial()
        self._state_keys = list(lm.state_dict(keep_vars=True))  # before the hook removes the frozen weights
        lm.register_state_dict_post_hook(_remove_frozen_weights)
        lm.register_load_state_dict_pre_hook(self._add_frozen_weights)

    def store_initial(self) -> None:
        """Store the current update, so that ``reset_to_base`` returns to it."""
        self._initial = {name: value.detach().clone() for name, value in self._get_update(POLICY).items()}

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Turn the model into the reference model inside the context."""
        if REFERENCE in self._lm.peft_config:
            self._lm.set_adapter(REFERENCE)
        else:
            self._lm.disable_adapters()
        try:
            yield
        finally:
            if REFERENCE not in self._lm.peft_config:
                self._lm.enable_adapters()
            self._lm.set_adapter(POLICY)

    def set_reference(self) -> None:
        """Set the reference model to the current policy, by a copy of the update."""
        self._add_reference_adapter()
        policy = self._get_update(POLICY)
        with torch.no_grad():
            for name, value in self._get_update(REFERENCE).items():
                value.copy_(policy[name.replace(f".{REFERENCE}.", f".{POLICY}.")])

    def reset_to_base(self) -> None:
        """Reset the update to its initial value, with which the policy equals the base model."""
        with torch.no_grad():
            for name, value in self._get_update(POLICY).items():
                value.copy_(self._initial[name])

    def _add_reference_adapter(self) -> None:
        if REFERENCE not in self._lm.peft_config:
            with warnings.catch_warnings():
                # PEFT warns about a second adapter, which is intended here.
                warnings.filterwarnings("ignore", message="Already found a `peft_config`")
                self._lm.add_adapter(self._config, REFERENCE)
            self._cast_to_float32(REFERENCE)
            self._lm.set_adapter(POLICY)

    def _get_update(self, name: str) -> dict[str, Tensor]:
        """Return the matrices A and B of one adapter."""
        return {key: value for key, value in self._lm.named_parameters() if f".{name}." in key and "lora_" in key}

    def _cast_to_float32(self, name: str) -> None:
        """Cast an adapter to float32, because small optimizer steps would be rounded away in bfloat16."""
        for key, value in self._get_update(name).items():
            value.data = value.data.float()
            assert value.dim() == 2, key

    def _add_frozen_weights(self, lm: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Add the frozen weights of the model to a state dict that is being loaded, because checkpoints omit them."""
        if any(f".{REFERENCE}." in key and "lora_" in key for key in state):
            self._add_reference_adapter()
        for key in self._state_keys:
            if "lora_" not in key:
                owner, _, name = key.rpartition(".")
                state.setdefault(prefix + key, getattr(lm.get_submodule(owner), name).detach())


def _remove_frozen_weights(lm: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Remove all weights except the adapters from a state dict that is being saved."""
    for key in [key for key in state if key.startswith(prefix) and "lora_" not in key]:
        del state[key]
