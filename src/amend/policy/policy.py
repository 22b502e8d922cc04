"""The policy: a causal language model of transformers, the reference it is held to, and one way to read both.

Log-probabilities are asked for sampled tokens only, with one forward pass over a whole conversation: both turns of a
self-correction episode share it. The one shift between "predicts" and "is" in all of amend stands in ``Policy``.

    logp[i, t] = log softmax(logits(tokens[i, :t]) / temperature)[tokens[i, t]]
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.distributed.fsdp import register_fsdp_forward_method
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_layers import GradientCheckpointingLayer

from amend.distributed import collectives, fsdp
from amend.errors import UserError
from amend.ops.logprobs import TokenLogprobs, token_logprobs
from amend.policy import attention as kernels
from amend.policy import prefix_tree
from amend.policy.capabilities import head_is_linear, supports_prefix_trees
from amend.policy.chat_renderer import ChatRenderer
from amend.policy.tuning import Tuning
from amend.types import Tokens


class Policy(nn.Module):
    """A language model to be trained, its reference, its tokenizer and renderer.

    ``max_tokens_per_micro_batch`` is how many padded tokens one forward pass may take: a limit of the machine, not of
    the algorithm;
    no gradient depends on it.
    """

    def __init__(
        self,
        lm: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        tuning: Tuning,
        *,
        autocast: bool,
        max_tokens_per_micro_batch: int,
        gradient_checkpointing: bool,
        system_prompt: str,
        enable_thinking: bool | None,
    ) -> None:
        super().__init__()
        if lm.config._attn_implementation == "sdpa":
            lm.set_attn_implementation(kernels.NAME)
        self.renderer = ChatRenderer(tokenizer, end_tokens(lm, tokenizer), name, system_prompt, enable_thinking)
        self.ends = self.renderer.ends
        self.tokenizer, self.name, self.max_tokens_per_micro_batch = tokenizer, name, max_tokens_per_micro_batch
        self._autocast = autocast
        self.lm = lm.eval()  # no dropout: the policy that is trained is the policy that sampled
        self.adapter = tuning.adapt(lm)
        self.reference_lm = None if self.adapter else copy.deepcopy(lm).eval().requires_grad_(False)
        self._direct = head_is_linear(lm)
        self._layers = self._checkpointed_layers() if gradient_checkpointing else []
        self._shares = supports_prefix_trees(lm, self._read, self.in_bfloat16)

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return self.lm.device

    @property
    def context(self) -> int:
        """The longest conversation, in tokens, that the model can hold."""
        return int(getattr(self.lm.config, "max_position_embeddings", 2**31))

    def autocast(self) -> AbstractContextManager[object]:
        """The precision a forward pass runs in. Log-probabilities and losses leave it again for float32."""
        return torch.autocast(self.device.type, torch.bfloat16) if self._autocast else nullcontext()

    @property
    def in_bfloat16(self) -> bool:
        """Whether forward passes are computed in bfloat16."""
        return self._autocast or self.lm.dtype == torch.bfloat16

    @property
    def checkpoints(self) -> bool:
        """Whether layers are computed again in the backward pass."""
        return bool(self._layers)

    @property
    def is_sharded(self) -> bool:
        """Whether the weights lie divided among processes (``amend.policy.divided``)."""
        return collectives.is_sharded(next(self.lm.parameters()))

    def shard_submodule(self, module: nn.Module) -> None:
        """Divide a module that is trained beside this policy, such as a value head, if the policy itself is."""
        if self.is_sharded:
            fsdp.shard_module(module, self.device)

    def shard(self, device: torch.device) -> None:
        """Shard the weights of the policy and of its reference over all ranks. Needs a process group.

        The policy as a whole is the outermost FSDP unit: it holds the embeddings and the output layer, which are often
        one matrix and are used by themselves. ``forward`` and ``next_logits`` are its only entry points. The device
        never holds more than the shards and one gathered layer.
        """
        if self.adapter:
            self.adapter.freeze()  # creates the reference's own adapter, which is sharded with the rest
        for layer in [module for module in self.modules() if isinstance(module, GradientCheckpointingLayer)]:
            fsdp.shard_module(layer, device)
        fsdp.shard_module(self, device)
        register_fsdp_forward_method(self, "next_logits")
        register_fsdp_forward_method(self, "reference")
        if self.adapter:
            self.adapter.begin()  # the initial adapter, which is sharded by now

    def no_grad_context(self) -> AbstractContextManager[object]:
        """What replies are drawn in: no gradient, and nothing kept for one."""
        return (
            torch.no_grad() if self.is_sharded else torch.inference_mode()
        )  # which would mark gathered weights for good

    def any_rank(self, here: bool) -> bool:
        """``here``; of a divided model, whose every forward pass is everybody's, whether any process says so: who has
        nothing left to read reads along."""
        return collectives.all_reduce_any(here) if self.is_sharded else here

    def freeze_reference(self) -> None:
        """From now on the reference is the policy as it stands."""
        if self.adapter:
            self.adapter.freeze()
        else:
            self._copy().load_state_dict(self.lm.state_dict())

    def reset_to_base(self) -> None:
        """The policy as it was loaded: the base model, as long as the reference still is."""
        if self.adapter:
            self.adapter.reset_to_base()
        else:
            self.lm.load_state_dict(self._copy().state_dict())

    @contextmanager
    def model_or_reference(self, reference: bool) -> Iterator[PreTrainedModel]:
        """The model to read with: the policy, or its reference, which may be the same weights with a switch turned
        and so is the reference only within."""
        if not reference:
            yield self.lm
        elif self.adapter:
            with self.adapter.reference():
                yield self.lm
        else:
            yield self._copy()

    def decode(self, tokens: Tokens) -> str:
        """The text of drawn tokens, the end token left out."""
        return self.renderer.decode(tokens)

    def forward(
        self,
        tokens: Int[Tensor, "b t"],
        loss_mask: Bool[Tensor, "b t"],
        temperature: float | Float[Tensor, "b t"],
        reference: bool,
    ) -> TokenLogprobs:
        """Likelihood of the sampled tokens, each field [b t], 0 elsewhere; with ``reference``, of both models.

        Rows are padded on the right, where a causal model cannot see it, so no mask is needed and none is built.
        Temperature 0 (greedy) is read at temperature 1.
        """
        tree = prefix_tree.tree_for_sampled(tokens, loss_mask) if self._shares else None
        hidden = self._read(self.lm, tokens, loss_mask, tree)
        ref_hidden, ref_head = None, None
        if reference:
            with torch.no_grad(), self.model_or_reference(reference=True) as lm:
                ref_hidden, ref_head = self._read(lm, tokens, loss_mask, tree), self._head(lm)
        flat = token_logprobs(
            hidden,
            *_targets(tokens, loss_mask, temperature),
            self._head(self.lm),
            ref_hidden,
            ref_head,
            self.lm.config.get_text_config().vocab_size,
        )
        placed = {name: self._place(value, loss_mask) for name, value in flat._asdict().items() if name != "hidden"}
        return TokenLogprobs(**placed, hidden=hidden if self._direct else None)

    def logp(
        self, tokens: Int[Tensor, "b t"], loss_mask: Bool[Tensor, "b t"], temperature: float | Float[Tensor, "b t"]
    ) -> Float[Tensor, "b t"]:
        """Log-probabilities of the sampled tokens under the policy; 0 elsewhere."""
        return self(tokens, loss_mask, temperature, reference=False).logp

    def reference(
        self, tokens: Int[Tensor, "b t"], loss_mask: Bool[Tensor, "b t"], temperature: float | Float[Tensor, "b t"]
    ) -> Float[Tensor, "b t"]:
        """Return the log-probabilities of the sampled tokens under the frozen reference, without a pass of the policy.

        Args:
            tokens: Prompts and replies, padded on the right.
            loss_mask: True for the tokens that were sampled.
            temperature: The sampling temperature, one for all tokens or one for each; 0 is read as 1.

        Returns:
            Log-probabilities in nats, 0 where ``loss_mask`` is False, without gradient.
        """
        tree = prefix_tree.tree_for_sampled(tokens, loss_mask) if self._shares else None
        with torch.no_grad(), self.model_or_reference(reference=True) as lm:
            flat = token_logprobs(
                self._read(lm, tokens, loss_mask, tree),
                *_targets(tokens, loss_mask, temperature),
                self._head(lm),
                None,
                None,
                self.lm.config.get_text_config().vocab_size,
            )
        return self._place(flat.logp, loss_mask)

    def next_logits(self, lm: PreTrainedModel, last: Int[Tensor, " b"], **inputs: object) -> Float[Tensor, "b v"]:
        """What ``lm`` (this policy's model or its reference) expects after position last[i] of row i, in float32.

        ``inputs`` are a transformers forward pass's own; only the named positions are pushed through the vocabulary.
        """
        rows = torch.arange(len(last), device=last.device)
        if self._direct:
            return self._head(lm)(lm.base_model(**inputs).last_hidden_state[rows, last]).float()
        return lm(**inputs).logits[rows, last].float()

    def _read(
        self, lm: PreTrainedModel, tokens: Tensor, loss_mask: Tensor, tree: prefix_tree.PrefixTree | None
    ) -> Tensor:
        """What predicts each sampled token, [n d] (its logits [n v], for a model whose head is more than a matrix)."""
        before = loss_mask[:, 1:]  # position t - 1 predicts token t: the only shift there is
        inputs = {"input_ids": tokens[:, :-1]}
        if tree is not None:
            inputs = {
                "input_ids": tree.tokens[None],
                "position_ids": tree.positions[None],
                "attention_mask": tree.layout(),
            }
        with self.autocast(), self._checkpointing():
            if self._direct:
                states = lm.base_model(**inputs, use_cache=False).last_hidden_state
            else:
                states = lm(**inputs, use_cache=False).logits
        return states[before] if tree is None else nn.functional.embedding(tree.node[before], states[0])

    def _head(self, lm: PreTrainedModel) -> nn.Module:
        return lm.get_output_embeddings() if self._direct else nn.Identity()

    @staticmethod
    def _place(value: Tensor, loss_mask: Tensor) -> Tensor:
        placed = torch.zeros(loss_mask.shape, dtype=torch.float32, device=value.device)
        return placed.masked_scatter(loss_mask, value)

    def _copy(self) -> PreTrainedModel:
        assert self.reference_lm is not None  # there is one wherever there is no adapter
        return self.reference_lm

    def _checkpointed_layers(self) -> list[nn.Module]:
        """The layers whose inside is computed again in the backward pass. UserError for a model that has none."""
        try:
            self.lm.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        except ValueError as error:
            raise UserError(
                f"policy.gradient_checkpointing=true: {self.name} does not offer it ({error}); allowed: false"
            ) from error
        return [module for module in self.lm.modules() if isinstance(module, GradientCheckpointingLayer)]

    @contextmanager
    def _checkpointing(self) -> Iterator[None]:
        """Within, layers are checkpointed if that was asked for and gradients are wanted.

        transformers checkpoints layers in training mode only, which would also bring dropout back; so the layers alone
        are put into it, and nothing that is in them.
        """
        on = self._layers if torch.is_grad_enabled() else []
        for layer in on:
            layer.training = True
        try:
            yield
        finally:
            for layer in on:
                layer.training = False


def end_tokens(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Every token that ends a reply: the generation config's (often several), and the tokenizer's."""
    configured = getattr(lm.generation_config, "eos_token_id", None) if lm.generation_config else None
    found = [configured] if isinstance(configured, int) else list(configured or [])
    if tokenizer.eos_token_id is not None:
        found.append(tokenizer.eos_token_id)
    if not found:
        raise UserError("policy: neither its generation config nor its tokenizer names an end token")
    return tuple(dict.fromkeys(int(token) for token in found))


def _targets(
    tokens: Int[Tensor, "b t"], loss_mask: Bool[Tensor, "b t"], temperature: float | Float[Tensor, "b t"]
) -> tuple[Int[Tensor, " n"], float | Float[Tensor, "n 1"]]:
    """Return the sampled tokens, and the temperature of each."""
    targets = tokens[:, 1:][loss_mask[:, 1:]]
    return targets, temperature[loss_mask][:, None].float() if isinstance(temperature, Tensor) else temperature or 1.0
