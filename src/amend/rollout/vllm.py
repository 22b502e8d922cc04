"""The engine on GPUs of its own: a vLLM server, spoken to through TRL's ``VLLMClient``, sent the weights it is to use.

    trl vllm-serve --model NAME              on its GPUs (or vLLM's own `vllm serve`, with the flags that prints)
    python run.py rollout=vllm policy=...    on the trainer's

Each prompt is a request with its own seed, so a reply does not depend on what else is asked (as far as vLLM's
arithmetic does not: VLLM_BATCH_INVARIANT=1). Weights travel over NCCL, and no sooner than someone samples: ``sync``
says that those on the server are old, and the next call sends the new ones first. The reference is sampled by the same
server, sent its weights for as long as that takes. What a server says is checked, not believed: prompts must come back
as they were sent, replies must end with an end token or at the length asked for, and log-probabilities must be those of
the distribution that was drawn from, temperature included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from amend.errors import UserError
from amend.policy.policy import Policy
from amend.rollout.base import Seed
from amend.types import Completion, SamplingParams, Stop, Tokens
from amend.value_types import Count, NonNegative, Positive

LOGPROBS = "processed_logprobs"  # vLLM's name for those of the distribution drawn from, temperature included


class VLLM:
    """Samples from ``policy`` (from its reference, with ``frozen``) through the server at ``url``.

    group_port:     of the NCCL group that weights travel in; on the trainer's machine, free, and open to the server
    wait:           seconds to wait for the server to be up
    batch:          episodes sampled at once, in ``requests`` requests at a time
    importance_sampling_cap: see ``Engine``
    """

    def __init__(
        self,
        policy: Policy,
        *,
        url: str,
        group_port: Count,
        server_timeout: NonNegative,
        max_batch_size: Count,
        max_concurrency: Count,
        importance_sampling_cap: Positive | None,
    ) -> None:
        self._policy, self.max_batch_size, self._requests = policy, max_batch_size, max_concurrency
        self.importance_sampling_cap = importance_sampling_cap
        self._server = Server(policy, url, group_port, server_timeout)
        self._of_reference = False

    def reference_engine(self) -> VLLM:
        """The same server under the reference's weights."""
        twin = object.__new__(VLLM)
        twin.__dict__ |= self.__dict__
        twin._of_reference = True
        return twin

    def sync_weights(self) -> None:
        """The server's weights are old, if they are this engine's."""
        self._server.forget(self._of_reference)

    def sample(
        self, prompts: Sequence[Tokens], sampling_params: SamplingParams, seeds: Sequence[Seed]
    ) -> list[Completion]:
        """One completion a prompt; see ``Engine``."""
        if not prompts:
            return []
        self._server.hold(self._of_reference)
        with ThreadPoolExecutor(min(self._requests, len(prompts))) as pool:
            return list(
                pool.map(lambda one: self._reply(one[0], sampling_params, one[1]), zip(prompts, seeds, strict=True))
            )

    def _reply(self, prompt: Tokens, sampling_params: SamplingParams, seed: Seed) -> Completion:
        said = self._server.generate(prompt, sampling_params, seed, self._policy.ends)
        drawn = tuple(int(token) for token in said["completion_ids"][0])
        logp = tuple(at[ids.index(token)] for at, ids, token in zip(
            said["logprobs"][0], said["logprob_token_ids"][0], drawn, strict=True
        ))  # fmt: skip
        stop: Stop = "end" if drawn and drawn[-1] in self._policy.ends else "length"
        if tuple(said["prompt_ids"][0]) != prompt:
            raise self._server.refused("changed a prompt's tokens: does it serve another model?")
        if stop == "length" and len(drawn) != sampling_params.max_tokens:
            raise self._server.refused(
                f"ended a reply after {len(drawn)} of {sampling_params.max_tokens} tokens with none of the end tokens "
                f"{list(self._policy.ends)}: its --max-model-len may be too small"
            )
        if None in logp:
            raise self._server.refused("drew a token whose log-probability is not a number")
        return Completion(drawn, logp, self._policy.decode(drawn), stop)


class Server:
    """The connection that an engine and its frozen twin share, and whose weights are at its other end."""

    def __init__(self, policy: Policy, url: str, group_port: int, wait: float) -> None:
        self._policy, self._url, self._group_port, self._wait = policy, url, group_port, wait
        self._client: Any = None
        self._holds: bool | None = None  # the reference's weights, the policy's, or nobody knows

    def forget(self, reference: bool) -> None:
        """The policy's (or the reference's) weights have changed."""
        if self._holds is reference:
            self._holds = None

    def hold(self, reference: bool) -> None:
        """See to it that the server samples from the policy, or from the reference, as they are now."""
        if self._client is None:
            self._client = self._connected()
        if self._holds is not reference:
            with self._policy.model_or_reference(reference) as lm, torch.no_grad():
                parts = list(lm.named_parameters())
                named = [(name, weight) for name, weight in parts if "lora_" not in name]
                shapes = [(plain(name), str(w.dtype).removeprefix("torch."), list(w.shape)) for name, w in named]
                self._asked(self._client.update_named_params, shapes, merged(lm, named))
                self._asked(self._client.reset_prefix_cache)
            self._holds = reference

    def generate(
        self, prompt: Tokens, sampling_params: SamplingParams, seed: Seed, ends: Sequence[int]
    ) -> dict[str, Any]:
        """TRL's words for one reply. Nothing is left to the server's defaults: those come from the model's files."""
        said: dict[str, Any] = self._asked(
            self._client.generate,
            [list(prompt)],
            n=1,
            temperature=sampling_params.temperature,
            top_p=1.0,
            top_k=0,
            min_p=0.0,
            repetition_penalty=1.0,
            max_tokens=sampling_params.max_tokens,
            logprobs=0,
            generation_kwargs={"seed": number(seed), "stop_token_ids": list(ends)},
        )
        return said

    def refused(self, reason: object) -> UserError:
        """The one line about this server."""
        return UserError(f"rollout.url={self._url}: the server {' '.join(str(reason).split())[:300]}")

    def _connected(self) -> Any:
        """A client that the server has been introduced to. UserError where there is none, or it cannot be used."""
        from trl.generation.vllm_client import VLLMClient

        device = self._policy.device
        try:
            client = VLLMClient(base_url=self._url, group_port=self._group_port, connection_timeout=self._wait)
            mode = client.get_server_info().get("model_config", {}).get("logprobs_mode", LOGPROBS)
            if LOGPROBS not in str(mode).lower():
                raise self.refused(f"has logprobs_mode={mode}; allowed: --logprobs-mode {LOGPROBS}")
            client.init_communicator(device=device)
        except ImportError as error:
            raise UserError(f"rollout=vllm: {error}; allowed: pip install 'amend[vllm]', or another rollout") from error
        except NotImplementedError as error:
            raise UserError(
                f"rollout=vllm: weights reach a server over NCCL, from a GPU, and the policy is on {device.type}; "
                f"allowed: trainer.accelerator=gpu, or another rollout"
            ) from error
        except OSError as error:  # as all of `requests`' own are
            raise UserError(
                f"rollout.url={self._url}: no vLLM server answers there (waited "
                f"rollout.server_timeout={self._wait:g} s); start "
                f"one: trl vllm-serve --model {self._policy.name}"
            ) from error
        except RuntimeError as error:  # TRL's words for a server without the endpoints that weights need
            raise self.refused(f"cannot be sent weights: {error}") from error
        return client

    def _asked(self, question: Any, *args: Any, **more: Any) -> Any:
        """What the server answers; UserError with its own words where it does not."""
        try:
            return question(*args, **more)
        except (UserError, TypeError, AttributeError, KeyError):
            raise
        except OSError as error:
            raise self.refused(f"no longer answers: {type(error).__name__}") from error
        except Exception as error:  # TRL raises plain Exception for every status but 200
            if type(error) is not Exception:
                raise
            raise self.refused(f"said: {error}") from error


def number(seed: Seed) -> int:
    """A seed as the one number that vLLM takes, 63 bits: different for different seeds."""
    return int(np.random.SeedSequence((len(seed), *seed)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def plain(name: str) -> str:
    """A parameter's name as the model without adapters knows it."""
    return name.replace(".base_layer.", ".")


def merged(lm: torch.nn.Module, named: Sequence[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Weights by their plain names, low-rank updates added where they are switched on; the model stays as it is."""
    for name, weight in named:
        where, _, rest = name.partition(".base_layer.")
        layer: Any = lm.get_submodule(where) if rest else None
        value = weight.data
        if rest == "weight" and not layer.disable_adapters:
            for adapter in layer.active_adapters:
                if adapter in layer.lora_A:
                    value = (value.float() + layer.get_delta_weight(adapter).float()).to(weight.dtype)
        yield plain(name), value
