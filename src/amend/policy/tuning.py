"""What of the model is trained, and where the reference then comes from.

    full    every weight; the reference is a frozen copy of the model
    lora    low-rank updates of its matrices; the reference is the same weights with the update switched off

    W' = W + (alpha / rank) B A,    B = 0 at first                        LoRA: Hu et al. 2021, arXiv 2106.09685

With LoRA there is one copy of the model in memory, and a checkpoint holds the update alone. The update has no dropout:
the policy that is trained must be the policy that sampled.
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

POLICY, REFERENCE = "policy", "reference"  # the names that peft knows the two updates by


@runtime_checkable
class Tuning(Protocol):
    """Says what is trained; called once, on the model as it was loaded."""

    def adapt(self, lm: PreTrainedModel) -> Adapter | None:
        """The update that is trained in the model's place; None where the model itself is."""
        ...


class Full:
    """Every weight is trained."""

    def adapt(self, lm: PreTrainedModel) -> None:
        """Nothing is put in the model's place."""
        return


class Lora:
    """An update of rank ``rank`` to each of the matrices ``targets`` ("all": every one but embeddings and output)."""

    def __init__(self, *, rank: Count, alpha: Positive, targets: list[str]) -> None:
        self._rank, self._alpha, self._targets = rank, alpha, targets

    def adapt(self, lm: PreTrainedModel) -> Adapter:
        """Puts the update into ``lm``. UserError where a target is not a matrix of the model, or is its output."""
        if "all" not in self._targets:
            self._found(lm)
        config = LoraConfig(
            r=self._rank,
            lora_alpha=self._alpha,  # type: ignore[arg-type]  # peft says int and multiplies by it
            lora_dropout=0.0,
            target_modules="all-linear" if "all" in self._targets else list(self._targets),
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in lm.modules()),  # GPT-2's matrices lie on a side
        )
        return Adapter(lm, config)

    def _found(self, lm: PreTrainedModel) -> None:
        """Every target names a matrix that may be updated, or UserError."""
        ends = (lm.get_input_embeddings(), lm.get_output_embeddings())
        named = {name.rpartition(".")[2]: module for name, module in lm.named_modules()}
        matrices = {
            name for name, module in named.items() if module not in ends and getattr(module, "weight", None) is not None
        }
        matrices = {name for name in matrices if named[name].weight.dim() == 2}
        unknown = [target for target in self._targets if target not in matrices]
        if unknown or not self._targets:
            raise UserError(
                f"tuning.targets={self._targets}: {', '.join(unknown) or 'nothing'} is no matrix of this model that "
                f"can be updated; allowed: all, or some of {', '.join(sorted(matrices))}"
            )


class Adapter:
    """A low-rank update in a model: on for the policy, off (or another one) for the reference."""

    def __init__(self, lm: PreTrainedModel, config: LoraConfig) -> None:
        self._lm, self._config = lm, config
        lm.add_adapter(config, POLICY)
        self._exact(POLICY)
        self.begin()
        self._whole = list(lm.state_dict(keep_vars=True))  # all that a checkpoint of the model would hold
        lm.register_state_dict_post_hook(_only_updates)
        lm.register_load_state_dict_pre_hook(self._complete)

    def begin(self) -> None:
        """From now on ``restart`` is back to the update as it stands."""
        self._first = {name: value.detach().clone() for name, value in self._update(POLICY).items()}

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Within, the model is the reference."""
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

    def freeze(self) -> None:
        """From now on the reference is the model under a copy of the update as it stands."""
        self._second()
        mine = self._update(POLICY)
        with torch.no_grad():
            for name, value in self._update(REFERENCE).items():
                value.copy_(mine[name.replace(f".{REFERENCE}.", f".{POLICY}.")])

    def reset_to_base(self) -> None:
        """The update as it was at first: none."""
        with torch.no_grad():
            for name, value in self._update(POLICY).items():
                value.copy_(self._first[name])

    def _second(self) -> None:
        if REFERENCE not in self._lm.peft_config:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # and that is meant
                self._lm.add_adapter(self._config, REFERENCE)
            self._exact(REFERENCE)
            self._lm.set_adapter(POLICY)

    def _update(self, name: str) -> dict[str, Tensor]:
        """The matrices A and B of one of the updates."""
        return {key: value for key, value in self._lm.named_parameters() if f".{name}." in key and "lora_" in key}

    def _exact(self, name: str) -> None:
        """Keep the update in float32 whatever the model is in: a small step must not be rounded away."""
        for key, value in self._update(name).items():
            value.data = value.data.float()
            assert value.dim() == 2, key

    def _complete(self, lm: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Weights that are not trained are not in a checkpoint: they are what they are."""
        if any(f".{REFERENCE}." in key and "lora_" in key for key in state):
            self._second()
        for key in self._whole:
            if "lora_" not in key:
                owner, _, name = key.rpartition(".")
                state.setdefault(prefix + key, getattr(lm.get_submodule(owner), name).detach())


def _only_updates(lm: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """What of ``lm`` goes into a checkpoint."""
    for key in [key for key in state if key.startswith(prefix) and "lora_" not in key]:
        del state[key]
