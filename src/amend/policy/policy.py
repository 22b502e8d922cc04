"""Wrap a causal language model of transformers and its reference model, and compute their log-probabilities.

One forward pass over a whole conversation gives the log-probabilities of its sampled tokens. All turns of an episode
share this forward pass. Position t - 1 predicts token t; only this module applies the shift.

    logp[i, t] = log softmax(logits(tokens[i, :t]) / temperature[i, t])[tokens[i, t]]
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
    """A language model that is trained, with its reference model, tokenizer and chat renderer.

    Args:
        lm: The model, with its initial weights.
        tokenizer: The tokenizer, with a chat template.
        name: The name of the model in error messages.
        tuning: The choice of trained weights: all weights, or a low-rank update.
        autocast: Whether forward passes run in bfloat16.
        max_tokens_per_micro_batch: The maximum number of padded tokens of one forward pass. The value depends on the
            memory of the device. No gradient depends on it.
        gradient_checkpointing: Whether the backward pass recomputes the activations of each layer.
        system_prompt: The text of the system message; "": no system message.
        enable_thinking: The argument of this name of the chat template; None: the template's default.

    Raises:
        UserError: If the model, its tokenizer or its chat template does not support one of the options.
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
        self.lm = lm.eval()  # Dropout would make the trained policy differ from the policy that sampled.
        self.adapter = tuning.adapt(lm)
        self.reference_lm = None if self.adapter else copy.deepcopy(lm).eval().requires_grad_(False)
        self._has_linear_head = head_is_linear(lm)
        self._layers = self._checkpointed_layers() if gradient_checkpointing else []
        self._uses_prefix_trees = supports_prefix_trees(lm, self._read, self.in_bfloat16)

    @property
    def device(self) -> torch.device:
        """Return the device of the model's weights."""
        return self.lm.device

    @property
    def max_length(self) -> int:
        """Return the maximum number of tokens of a conversation."""
        return int(getattr(self.lm.config, "max_position_embeddings", 2**31))

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context that sets the precision of a forward pass. Log-probabilities and losses are float32."""
        return torch.autocast(self.device.type, torch.bfloat16) if self._autocast else nullcontext()

    @property
    def in_bfloat16(self) -> bool:
        """Return whether forward passes run in bfloat16."""
        return self._autocast or self.lm.dtype == torch.bfloat16

    @property
    def uses_gradient_checkpointing(self) -> bool:
        """Return whether the backward pass recomputes the activations of each layer."""
        return bool(self._layers)

    @property
    def is_sharded(self) -> bool:
        """Return whether the weights are sharded over ranks (``amend.distributed.fsdp``)."""
        return collectives.is_sharded(next(self.lm.parameters()))

    def shard_submodule(self, module: nn.Module) -> None:
        """Shard a module that is trained together with the policy, such as a value head, if the policy is sharded."""
        if self.is_sharded:
            fsdp.shard_module(module, self.device)

    def shard(self, device: torch.device) -> None:
        """Shard the weights of the policy and of its reference model over all ranks. This requires a process group.

        Each layer is one FSDP unit. The ``Policy`` module is the outermost unit, which contains the embeddings and the
        output layer. The two often share one matrix, and the output layer is called separately from the model. FSDP
        gathers weights only in ``forward``, ``reference_logprobs`` and ``next_logits``. The device holds at most the
        shards, the outermost unit and one gathered layer at a time.
        """
        if self.adapter:
            self.adapter.set_reference()  # creates the adapter of the reference, so that it is sharded as well
        for layer in [module for module in self.modules() if isinstance(module, GradientCheckpointingLayer)]:
            fsdp.shard_module(layer, device)
        fsdp.shard_module(self, device)
        register_fsdp_forward_method(self, "next_logits")
        register_fsdp_forward_method(self, "reference_logprobs")
        if self.adapter:
            self.adapter.store_initial()  # copies the initial adapter again, because its weights are sharded now

    def no_grad_context(self) -> AbstractContextManager[object]:
        """Return the context for sampling, in which no gradients are computed."""
        # ``inference_mode`` would permanently mark the weights that FSDP gathers as inference tensors.
        return torch.no_grad() if self.is_sharded else torch.inference_mode()

    def any_rank(self, value: bool) -> bool:
        """Return whether ``value`` is true on any rank if the policy is sharded, else return ``value``.

        All ranks must take part in every forward pass of a sharded policy. A rank that has no data left runs dummy
        forward passes until all ranks have finished.
        """
        return collectives.all_reduce_any(value) if self.is_sharded else value

    def freeze_reference(self) -> None:
        """Set the reference model to the current policy."""
        if self.adapter:
            self.adapter.set_reference()
        else:
            self._get_reference_copy().load_state_dict(self.lm.state_dict())

    def reset_to_base(self) -> None:
        """Reset the policy to the base model.

        Without an adapter, the policy is reset to the reference model. This is the base model until
        ``freeze_reference`` changes the reference.
        """
        if self.adapter:
            self.adapter.reset_to_base()
        else:
            self.lm.load_state_dict(self._get_reference_copy().state_dict())

    @contextmanager
    def model_or_reference(self, reference: bool) -> Iterator[PreTrainedModel]:
        """Yield the policy's model, or the reference model if ``reference`` is true.

        With an adapter, both are the same module. It is the reference model only inside this context.
        """
        if not reference:
            yield self.lm
        elif self.adapter:
            with self.adapter.reference():
                yield self.lm
        else:
            yield self._get_reference_copy()

    def decode(self, tokens: Tokens) -> str:
        """Return the text of sampled tokens, without the end token."""
        return self.renderer.decode(tokens)

    def forward(
        self,
        tokens: Int[Tensor, "b t"],
        loss_mask: Bool[Tensor, "b t"],
        temperature: float | Float[Tensor, "b t"],
        reference: bool,
    ) -> TokenLogprobs:
        """Return log-probabilities, entropy and KL of the sampled tokens.

        A causal model does not attend to padding on the right, so no attention mask is needed.

        Args:
            tokens: Prompts and replies, padded on the right.
            loss_mask: True for the tokens that were sampled.
            temperature: The sampling temperature: one number for all tokens, of which 0 (greedy) counts as 1, or one
                positive number per token.
            reference: Whether to compute the log-probabilities of the reference model and the KL, too.

        Returns:
            Values of shape [b t] in nats, 0 where ``loss_mask`` is False. Without ``reference``, ``ref_logp`` and
            ``kl`` are NaN at sampled tokens. ``hidden`` is [n d] for n sampled tokens; None if the output layer of the
            model is more than a matrix product.
        """
        tree = prefix_tree.build_tree_for_sampled(tokens, loss_mask) if self._uses_prefix_trees else None
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
        fields = {name: self._scatter(value, loss_mask) for name, value in flat._asdict().items() if name != "hidden"}
        return TokenLogprobs(**fields, hidden=hidden if self._has_linear_head else None)

    def logprobs(
        self, tokens: Int[Tensor, "b t"], loss_mask: Bool[Tensor, "b t"], temperature: float | Float[Tensor, "b t"]
    ) -> Float[Tensor, "b t"]:
        """Return the log-probabilities of the sampled tokens under the policy; 0 elsewhere. See ``forward``."""
        return self(tokens, loss_mask, temperature, reference=False).logp

    def reference_logprobs(
        self, tokens: Int[Tensor, "b t"], loss_mask: Bool[Tensor, "b t"], temperature: float | Float[Tensor, "b t"]
    ) -> Float[Tensor, "b t"]:
        """Return the log-probabilities of the sampled tokens under the reference model, without running the policy.

        Args:
            tokens: Prompts and replies, padded on the right.
            loss_mask: True for the tokens that were sampled.
            temperature: The sampling temperature: one number for all tokens, of which 0 (greedy) counts as 1, or one
                positive number per token.

        Returns:
            Log-probabilities in nats, 0 where ``loss_mask`` is False, without gradient.
        """
        tree = prefix_tree.build_tree_for_sampled(tokens, loss_mask) if self._uses_prefix_trees else None
        with torch.no_grad(), self.model_or_reference(reference=True) as lm:
            flat = token_logprobs(
                self._read(lm, tokens, loss_mask, tree),
                *_targets(tokens, loss_mask, temperature),
                self._head(lm),
                None,
                None,
                self.lm.config.get_text_config().vocab_size,
            )
        return self._scatter(flat.logp, loss_mask)

    def next_logits(self, lm: PreTrainedModel, last: Int[Tensor, " b"], **inputs: object) -> Float[Tensor, "b v"]:
        """Return the logits for the token after position ``last[i]`` of each row i, in float32.

        The output layer is applied only at these positions.

        Args:
            lm: The policy's model or the reference model.
            last: The position in each row whose next token is predicted.
            inputs: Arguments of the model's forward pass, such as ``input_ids`` and ``past_key_values``.
        """
        rows = torch.arange(len(last), device=last.device)
        if self._has_linear_head:
            return self._head(lm)(lm.base_model(**inputs).last_hidden_state[rows, last]).float()
        return lm(**inputs).logits[rows, last].float()

    def _read(
        self, lm: PreTrainedModel, tokens: Tensor, loss_mask: Tensor, tree: prefix_tree.PrefixTree | None
    ) -> Tensor:
        """Return the hidden state [n d] that predicts each sampled token.

        If the output layer of the model is more than a matrix product, return the logits [n v].
        """
        predicts_sampled = loss_mask[:, 1:]  # position t - 1 predicts token t
        inputs = {"input_ids": tokens[:, :-1]}
        if tree is not None:
            inputs = {
                "input_ids": tree.tokens[None],
                "position_ids": tree.positions[None],
                "attention_mask": tree.layout(),
            }
        with self.autocast(), self._checkpointing():
            if self._has_linear_head:
                states = lm.base_model(**inputs, use_cache=False).last_hidden_state
            else:
                states = lm(**inputs, use_cache=False).logits
        return (
            states[predicts_sampled]
            if tree is None
            else nn.functional.embedding(tree.node[predicts_sampled], states[0])
        )

    def _head(self, lm: PreTrainedModel) -> nn.Module:
        """Return the output layer for the states that ``_read`` returns."""
        return lm.get_output_embeddings() if self._has_linear_head else nn.Identity()

    @staticmethod
    def _scatter(value: Tensor, loss_mask: Tensor) -> Tensor:
        """Put the values [n] of sampled tokens at their places in [b t], with 0 elsewhere."""
        zeros = torch.zeros(loss_mask.shape, dtype=torch.float32, device=value.device)
        return zeros.masked_scatter(loss_mask, value)

    def _get_reference_copy(self) -> PreTrainedModel:
        assert self.reference_lm is not None  # A policy without an adapter has a copy.
        return self.reference_lm

    def _checkpointed_layers(self) -> list[nn.Module]:
        """Return the layers whose activations are recomputed; raise UserError if the model does not support it."""
        try:
            self.lm.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        except ValueError as error:
            raise UserError(
                f"policy.gradient_checkpointing=true: {self.name} does not support it ({error}); allowed: false"
            ) from error
        return [module for module in self.lm.modules() if isinstance(module, GradientCheckpointingLayer)]

    @contextmanager
    def _checkpointing(self) -> Iterator[None]:
        """Enable gradient checkpointing inside the context, if it is configured and gradients are enabled.

        transformers checkpoints a layer only in training mode, which would also enable dropout. Therefore only the
        layers are set to training mode, and their submodules stay in evaluation mode.
        """
        layers = self._layers if torch.is_grad_enabled() else []
        for layer in layers:
            layer.training = True
        try:
            yield
        finally:
            for layer in layers:
                layer.training = False


def end_tokens(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return all tokens that end a reply: those of the generation config, often several, and that of the tokenizer."""
    configured = getattr(lm.generation_config, "eos_token_id", None) if lm.generation_config else None
    tokens = [configured] if isinstance(configured, int) else list(configured or [])
    if tokenizer.eos_token_id is not None:
        tokens.append(tokenizer.eos_token_id)
    if not tokens:
        raise UserError("policy: neither its generation config nor its tokenizer defines an end token")
    return tuple(dict.fromkeys(int(token) for token in tokens))


def _targets(
    tokens: Int[Tensor, "b t"], loss_mask: Bool[Tensor, "b t"], temperature: float | Float[Tensor, "b t"]
) -> tuple[Int[Tensor, " n"], float | Float[Tensor, "n 1"]]:
    """Return the sampled tokens and their temperatures; a single temperature of 0 (greedy) becomes 1."""
    targets = tokens[:, 1:][loss_mask[:, 1:]]
    return targets, temperature[loss_mask][:, None].float() if isinstance(temperature, Tensor) else temperature or 1.0
