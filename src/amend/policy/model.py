"""The policy: a causal language model of transformers, the reference it is held to, and one way to read both.

Log-probabilities are asked for sampled tokens only, with one forward pass over a whole conversation: both turns of a
self-correction episode share it. The one shift between "predicts" and "is" in all of amend stands in ``Policy``.

    logp[i, t] = log softmax(logits(tokens[i, :t]) / temperature)[tokens[i, t]]
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_layers import GradientCheckpointingLayer

from amend import ranks
from amend.bounds import Count
from amend.errors import UserError
from amend.ops.likelihood import Likelihood, likelihood
from amend.policy import attention as kernels
from amend.policy import prefixes, templates
from amend.policy.renderer import Renderer
from amend.policy.tuning import Tuning
from amend.types import Tokens

BUILTIN = Path(__file__).parent / "tiny"
LOUD = 50.0  # a logit this large shows any cap
TOLERANCE = 1e-3  # of it: how far a shortcut may be from the model's own way
ROUNDED = 3e-2  # the same in bfloat16, which keeps eight bits


class Policy(nn.Module):
    """A language model to be trained, its reference, its tokenizer and renderer.

    ``micro_tokens`` is how many padded tokens one forward pass may take: a limit of the machine, not of the algorithm;
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
        micro_tokens: int,
        gradient_checkpointing: bool,
        system: str,
        thinking: bool | None,
    ) -> None:
        super().__init__()
        if lm.config._attn_implementation == "sdpa":
            lm.set_attn_implementation(kernels.NAME)
        self.renderer = Renderer(tokenizer, end_tokens(lm, tokenizer), name, system, thinking)
        self.ends = self.renderer.ends
        self.tokenizer, self.name, self.micro_tokens = tokenizer, name, micro_tokens
        self._autocast = autocast
        self.lm = lm.eval()  # no dropout: the policy that is trained is the policy that sampled
        self.adapter = tuning.adapt(lm)
        self.reference_lm = None if self.adapter else copy.deepcopy(lm).eval().requires_grad_(False)
        self._direct = self._head_is_all()
        self._layers = self._checkpointed_layers() if gradient_checkpointing else []
        self._shares = self._reads_trees()

    @classmethod
    def load(
        cls,
        tuning: Tuning,
        *,
        path: str,
        dtype: Literal["float32", "bfloat16"],
        autocast: Literal["auto", "on", "off"],
        micro_tokens: Count,
        attention: Literal["auto", "sdpa", "eager"],
        gradient_checkpointing: bool,
        template: str,
        system: str | None,
        thinking: bool | None,
    ) -> Policy:
        """The model at ``path``: ``builtin``, a folder, or a hub id. UserError says what to do when it is not there."""
        where = str(BUILTIN) if path == "builtin" else str(Path(path).expanduser())
        try:
            tokenizer = AutoTokenizer.from_pretrained(where)
            config = AutoConfig.from_pretrained(where)
            how = attention_for(config, attention)
            lm = AutoModelForCausalLM.from_pretrained(
                where, config=config, dtype=getattr(torch, dtype), attn_implementation=how
            )
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"policy.path={path}: no model could be loaded from there ({reason}); allowed: builtin, a folder with "
                f"config.json and tokenizer files, or a hub id fetched before with `hf download {path}`"
            ) from error
        name = "builtin" if path == "builtin" else Path(path).name
        templates.put(tokenizer, template, name)
        return cls(
            lm,
            tokenizer,
            name,
            tuning,
            autocast=autocast_on(autocast),
            micro_tokens=micro_tokens,
            gradient_checkpointing=gradient_checkpointing,
            system=system or "",
            thinking=thinking,
        )

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
    def divided(self) -> bool:
        """Whether the weights lie divided among processes (``amend.policy.divided``)."""
        return ranks.is_divided(next(self.lm.parameters()))

    def divide_beside(self, module: nn.Module) -> None:
        """Divide a module that is trained beside this policy, such as a value head, if the policy itself is."""
        if self.divided:
            from amend.policy import divided

            divided.divide_one(module, self.device)

    def sampling(self) -> AbstractContextManager[object]:
        """What replies are drawn in: no gradient, and nothing kept for one."""
        return torch.no_grad() if self.divided else torch.inference_mode()  # which would mark gathered weights for good

    def anyone(self, here: bool) -> bool:
        """``here``; of a divided model, whose every forward pass is everybody's, whether any process says so: who has
        nothing left to read reads along."""
        return ranks.any_(here) if self.divided else here

    def freeze_reference(self) -> None:
        """From now on the reference is the policy as it stands."""
        if self.adapter:
            self.adapter.freeze()
        else:
            self._copy().load_state_dict(self.lm.state_dict())

    def restart(self) -> None:
        """The policy as it was loaded: the base model, as long as the reference still is."""
        if self.adapter:
            self.adapter.restart()
        else:
            self.lm.load_state_dict(self._copy().state_dict())

    @contextmanager
    def reading(self, reference: bool) -> Iterator[PreTrainedModel]:
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
        sampled: Bool[Tensor, "b t"],
        temperature: float | Float[Tensor, "b t"],
        reference: bool,
    ) -> Likelihood:
        """Likelihood of the sampled tokens, each field [b t], 0 elsewhere; with ``reference``, of both models.

        Rows are padded on the right, where a causal model cannot see it, so no mask is needed and none is built.
        Temperature 0 (greedy) is read at temperature 1.
        """
        tree = self._tree(tokens, sampled) if self._shares else None
        hidden = self._read(self.lm, tokens, sampled, tree)
        ref_hidden, ref_head = None, None
        if reference:
            with torch.no_grad(), self.reading(reference=True) as lm:
                ref_hidden, ref_head = self._read(lm, tokens, sampled, tree), self._head(lm)
        flat = likelihood(
            hidden,
            tokens[:, 1:][sampled[:, 1:]],
            temperature[sampled][:, None].float() if isinstance(temperature, Tensor) else temperature or 1.0,
            self._head(self.lm),
            ref_hidden,
            ref_head,
            self.lm.config.get_text_config().vocab_size,
        )
        placed = {name: self._place(value, sampled) for name, value in flat._asdict().items() if name != "hidden"}
        return Likelihood(**placed, hidden=hidden if self._direct else None)

    def logp(
        self, tokens: Int[Tensor, "b t"], sampled: Bool[Tensor, "b t"], temperature: float | Float[Tensor, "b t"]
    ) -> Float[Tensor, "b t"]:
        """Log-probabilities of the sampled tokens under the policy; 0 elsewhere."""
        return self(tokens, sampled, temperature, reference=False).logp

    def reference(
        self, tokens: Int[Tensor, "b t"], sampled: Bool[Tensor, "b t"], temperature: float | Float[Tensor, "b t"]
    ) -> Float[Tensor, "b t"]:
        """Log-probabilities of the sampled tokens under the frozen reference; 0 elsewhere. No gradient."""
        rows = max(1, self.micro_tokens // tokens.shape[1])
        found = torch.zeros(tokens.shape, dtype=torch.float32, device=tokens.device)
        with torch.no_grad():
            for some, counts in ranks.dealt(
                torch.arange(len(tokens), device=tokens.device), lambda hand: hand.split(rows)
            ):
                heat = temperature[some] if isinstance(temperature, Tensor) else temperature
                found[some] += self(tokens[some], sampled[some], heat, reference=True).ref_logp * counts
        return ranks.total(found)

    def next_logits(self, lm: PreTrainedModel, last: Int[Tensor, " b"], **inputs: object) -> Float[Tensor, "b v"]:
        """What ``lm`` (this policy's model or its reference) expects after position last[i] of row i, in float32.

        ``inputs`` are a transformers forward pass's own; only the named positions are pushed through the vocabulary.
        """
        rows = torch.arange(len(last), device=last.device)
        if self._direct:
            return self._head(lm)(lm.base_model(**inputs).last_hidden_state[rows, last]).float()
        return lm(**inputs).logits[rows, last].float()

    def _read(self, lm: PreTrainedModel, tokens: Tensor, sampled: Tensor, tree: prefixes.Tree | None) -> Tensor:
        """What predicts each sampled token, [n d] (its logits [n v], for a model whose head is more than a matrix)."""
        before = sampled[:, 1:]  # position t - 1 predicts token t: the only shift there is
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

    @staticmethod
    def _tree(tokens: Tensor, sampled: Tensor) -> prefixes.Tree:
        """What has to be read to predict the sampled tokens: each conversation up to the last of them."""
        before = sampled[:, 1:]
        last = torch.arange(1, before.shape[1] + 1, device=tokens.device) * before
        return prefixes.tree(tokens[:, :-1], last.amax(dim=1).clamp(min=1))

    def _head(self, lm: PreTrainedModel) -> nn.Module:
        return lm.get_output_embeddings() if self._direct else nn.Identity()

    @staticmethod
    def _place(value: Tensor, sampled: Tensor) -> Tensor:
        placed = torch.zeros(sampled.shape, dtype=torch.float32, device=value.device)
        return placed.masked_scatter(sampled, value)

    def _copy(self) -> PreTrainedModel:
        assert self.reference_lm is not None  # there is one wherever there is no adapter
        return self.reference_lm

    def _head_is_all(self) -> bool:
        """Is the output embedding all that stands between hidden states and logits? Gemma caps them, Cohere scales.

        Asked with hidden states that make logits large: a cap leaves small ones, as a new model's, nearly alone.
        """
        probe = torch.tensor([[1, 0, 1]], device=self.device)
        head = self.lm.get_output_embeddings()
        with torch.no_grad():
            hidden = self.lm.base_model(input_ids=probe, use_cache=False).last_hidden_state
            loud = hidden * (LOUD / head(hidden).abs().max().clamp(min=1e-6))

            def louder(module: nn.Module, inputs: Any, out: Any) -> Any:
                out.last_hidden_state = loud
                return out

            hook = self.lm.base_model.register_forward_hook(louder)
            try:
                gap = head(loud) - self.lm(input_ids=probe, use_cache=False).logits
            finally:
                hook.remove()
        return float(gap.abs().max()) < TOLERANCE * LOUD

    def _reads_trees(self) -> bool:
        """Can what conversations have in common be read once? Asked of the configuration, then of the model itself."""
        config = self.lm.config
        if config._attn_implementation != kernels.NAME or not kernels.sees_all(config):
            return False
        probe = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1]], device=self.device)
        predicted = torch.tensor([[False, True, True, True]] * 3, device=self.device)
        with torch.no_grad():
            apart = self._read(self.lm, probe, predicted, None).float()
            try:
                together = self._read(self.lm, probe, predicted, self._tree(probe, predicted)).float()
            except Exception:  # whatever a model does to a mask that is none: it is read row by row
                return False
        allowed = ROUNDED if self.in_bfloat16 else TOLERANCE
        return bool((apart - together).abs().mean() <= allowed * apart.abs().mean())

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


def attention_for(config: Any, choice: Literal["auto", "sdpa", "eager"]) -> str:
    """The attention a model is loaded with. ``auto``: torch's own kernels (FlashAttention among them, on a GPU), and
    plain arithmetic for models that cap attention scores, which those kernels would silently leave uncapped."""
    capped = kernels.caps_scores(config)
    if capped and choice == "sdpa":
        raise UserError(
            f"policy.attention=sdpa: {config.model_type} caps its attention scores, which sdpa does not do; "
            f"allowed: auto, eager"
        )
    return choice if choice != "auto" else "eager" if capped else "sdpa"


def end_tokens(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Every token that ends a reply: the generation config's (often several), and the tokenizer's."""
    configured = getattr(lm.generation_config, "eos_token_id", None) if lm.generation_config else None
    found = [configured] if isinstance(configured, int) else list(configured or [])
    if tokenizer.eos_token_id is not None:
        found.append(tokenizer.eos_token_id)
    if not found:
        raise UserError("policy: neither its generation config nor its tokenizer names an end token")
    return tuple(dict.fromkeys(int(token) for token in found))


def autocast_on(choice: Literal["auto", "on", "off"]) -> bool:
    """Whether to run forward passes in bfloat16. ``auto``: on CUDA, and on processors with AMX tiles.

    AVX512-BF16 alone is not enough: the built-in model's rounds are slower in it than in float32, on an Intel Xeon and
    on an AMD EPYC (tests/benchmark: 1.04 s for 0.89 on the latter).
    """
    if choice == "auto":
        return torch.cuda.is_available() or torch.cpu._is_amx_tile_supported()
    return choice == "on"
