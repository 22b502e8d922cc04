"""The policy: a causal language model of transformers, a frozen copy of it to be held to, and one way to read both.

Log-probabilities are asked for sampled tokens only, with one forward pass over a whole conversation: both turns of a
self-correction episode share it. The one shift between "predicts" and "is" in all of amend stands in ``Policy``.

    logp[i, t] = log softmax(logits(tokens[i, :t]) / temperature)[tokens[i, t]]
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from amend.bounds import Count
from amend.errors import UserError
from amend.ops.likelihood import Likelihood, likelihood
from amend.policy import attention
from amend.policy.renderer import Renderer
from amend.types import Tokens

BUILTIN = Path(__file__).parent / "tiny"
TOLERANCE = 1e-3  # of a logit: how far the shortcut through the output embedding may be from the model's own logits


class Policy(nn.Module):
    """A language model to be trained, its reference, its tokenizer and renderer.

    ``micro_tokens`` is how many padded tokens one forward pass may take: a limit of the machine, not of the algorithm;
    no gradient depends on it.
    """

    def __init__(
        self, lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str, autocast: bool, micro_tokens: int
    ) -> None:
        super().__init__()
        if lm.config._attn_implementation == "sdpa":
            lm.set_attn_implementation(attention.NAME)
        self.lm = lm.eval()  # no dropout: the policy that is trained is the policy that sampled
        self.reference_lm = copy.deepcopy(lm).eval().requires_grad_(False)
        self.tokenizer, self.name, self.micro_tokens = tokenizer, name, micro_tokens
        self.ends = end_tokens(lm, tokenizer)
        self.renderer = Renderer(tokenizer, self.ends, name)
        self._autocast = autocast
        self._direct = self._head_is_all()

    @classmethod
    def load(
        cls,
        *,
        path: str,
        dtype: Literal["float32", "bfloat16"],
        autocast: Literal["auto", "on", "off"],
        micro_tokens: Count,
    ) -> Policy:
        """The model at ``path``: ``builtin``, a folder, or a hub id. UserError says what to do when it is not there."""
        where = str(BUILTIN) if path == "builtin" else path
        try:
            tokenizer = AutoTokenizer.from_pretrained(where)
            lm = AutoModelForCausalLM.from_pretrained(where, dtype=getattr(torch, dtype), attn_implementation="sdpa")
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"policy.path={path}: no model could be loaded from there ({reason}); allowed: builtin, a folder with "
                f"config.json and tokenizer files, or a hub id fetched before with `hf download {path}`"
            ) from error
        name = "builtin" if path == "builtin" else Path(path).name
        return cls(lm, tokenizer, name, autocast_on(autocast), micro_tokens)

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

    def freeze_reference(self) -> None:
        """From now on the reference is the policy as it stands."""
        self.reference_lm.load_state_dict(self.lm.state_dict())

    def decode(self, tokens: Tokens) -> str:
        """The text of drawn tokens, the end token left out."""
        kept = tokens[:-1] if tokens and tokens[-1] in self.ends else tokens
        return str(self.tokenizer.decode(list(kept), skip_special_tokens=False, clean_up_tokenization_spaces=False))

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
        hidden = self._read(self.lm, tokens, sampled)
        ref_hidden = None
        if reference:
            with torch.no_grad():
                ref_hidden = self._read(self.reference_lm, tokens, sampled)
        flat = likelihood(
            hidden,
            tokens[:, 1:][sampled[:, 1:]],
            temperature[sampled][:, None].float() if isinstance(temperature, Tensor) else temperature or 1.0,
            self._head(self.lm),
            ref_hidden,
            self._head(self.reference_lm) if reference else None,
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
        cuts = [slice(at, at + rows) for at in range(0, len(tokens), rows)]
        with torch.no_grad():
            parts = [
                self(
                    tokens[cut],
                    sampled[cut],
                    temperature[cut] if isinstance(temperature, Tensor) else temperature,
                    reference=True,
                ).ref_logp
                for cut in cuts
            ]
        return torch.cat(parts)

    def next_logits(self, lm: PreTrainedModel, last: Int[Tensor, " b"], **inputs: object) -> Float[Tensor, "b v"]:
        """What ``lm`` (this policy's model or its reference) expects after position last[i] of row i, in float32.

        ``inputs`` are a transformers forward pass's own; only the named positions are pushed through the vocabulary.
        """
        rows = torch.arange(len(last), device=last.device)
        if self._direct:
            return self._head(lm)(lm.base_model(**inputs).last_hidden_state[rows, last]).float()
        return lm(**inputs).logits[rows, last].float()

    def _read(self, lm: PreTrainedModel, tokens: Tensor, sampled: Tensor) -> Tensor:
        """What predicts each sampled token, [n d] (its logits [n v], for a model whose head is more than a matrix)."""
        before = sampled[:, 1:]  # position t - 1 predicts token t: the only shift there is
        with self.autocast():
            if self._direct:
                return lm.base_model(input_ids=tokens[:, :-1], use_cache=False).last_hidden_state[before]
            return lm(input_ids=tokens[:, :-1], use_cache=False).logits[before]

    def _head(self, lm: PreTrainedModel) -> nn.Module:
        return lm.get_output_embeddings() if self._direct else nn.Identity()

    @staticmethod
    def _place(value: Tensor, sampled: Tensor) -> Tensor:
        placed = torch.zeros(sampled.shape, dtype=torch.float32, device=value.device)
        return placed.masked_scatter(sampled, value)

    def _head_is_all(self) -> bool:
        """Is the output embedding all that stands between hidden states and logits? Gemma caps them, Cohere scales."""
        probe = torch.tensor([[1, 0, 1]], device=self.device)
        with torch.no_grad():
            hidden = self.lm.base_model(input_ids=probe, use_cache=False).last_hidden_state
            gap = self.lm.get_output_embeddings()(hidden) - self.lm(input_ids=probe, use_cache=False).logits
        return float(gap.abs().max()) < TOLERANCE


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

    AVX512-BF16 alone is not enough: on the machine this was built on it is slower than float32 (tests/benchmark).
    """
    if choice == "auto":
        return torch.cuda.is_available() or torch.cpu._is_amx_tile_supported()
    return choice == "on"
