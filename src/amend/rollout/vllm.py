"""The engine ``vllm``: sample on a vLLM server with its own GPUs, through TRL's ``VLLMClient``.

    trl vllm-serve --model NAME              on the server (or `vllm serve` with the flags that this command prints)
    python run.py rollout=vllm policy=...    on the trainer's machine

Each prompt is one request with its own seed. A reply does not depend on the other requests if vLLM computes batch
invariantly (VLLM_BATCH_INVARIANT=1).

Weights are sent over NCCL. ``sync_weights`` only marks the weights on the server as old; the next call of ``sample``
sends the new weights first. The reference model uses the same server: its weights replace the policy's for the time of
the call.

The engine checks every response. The prompt must be unchanged. A reply must end with an end token or at the requested
length. The log-probabilities must be those of the sampling distribution, with the temperature applied.
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

LOGPROBS = "processed_logprobs"  # vLLM's name for log-probabilities of the sampling distribution


class VLLM:
    """An engine that samples from the policy or its reference model on a vLLM server.

    Args:
        policy: The policy.
        url: The URL of the server.
        group_port: The port of the NCCL group that transfers the weights. It must be free on the trainer's machine, and
            reachable from the server.
        server_timeout: The time in seconds to wait for the server.
        max_batch_size: The number of episodes that are sampled at once.
        max_concurrency: The number of requests that are sent at the same time.
        importance_sampling_cap: See ``Engine``.
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
        self._policy, self.max_batch_size, self._max_concurrency = policy, max_batch_size, max_concurrency
        self.importance_sampling_cap = importance_sampling_cap
        self._server = Server(policy, url, group_port, server_timeout)
        self._uses_reference = False

    def reference_engine(self) -> VLLM:
        """Return an engine that samples from the reference model on the same server."""
        engine = object.__new__(VLLM)
        engine.__dict__ |= self.__dict__
        engine._uses_reference = True
        return engine

    def sync_weights(self) -> None:
        """Mark the weights on the server as old if they are this engine's weights."""
        self._server.forget(self._uses_reference)

    def sample(
        self, prompts: Sequence[Tokens], sampling_params: SamplingParams, seeds: Sequence[Seed]
    ) -> list[Completion]:
        """Sample one completion for each prompt; see ``Engine``."""
        if not prompts:
            return []
        self._server.hold(self._uses_reference)
        with ThreadPoolExecutor(min(self._max_concurrency, len(prompts))) as pool:
            return list(
                pool.map(
                    lambda request: self._sample_reply(request[0], sampling_params, request[1]),
                    zip(prompts, seeds, strict=True),
                )
            )

    def _sample_reply(self, prompt: Tokens, sampling_params: SamplingParams, seed: Seed) -> Completion:
        response = self._server.generate(prompt, sampling_params, seed, self._policy.ends)
        tokens = tuple(int(token) for token in response["completion_ids"][0])
        logp = tuple(values[ids.index(token)] for values, ids, token in zip(
            response["logprobs"][0], response["logprob_token_ids"][0], tokens, strict=True
        ))  # fmt: skip
        stop: Stop = "end" if tokens and tokens[-1] in self._policy.ends else "length"
        if tuple(response["prompt_ids"][0]) != prompt:
            raise self._server.refused("changed a prompt's tokens: does it serve another model?")
        if stop == "length" and len(tokens) != sampling_params.max_tokens:
            raise self._server.refused(
                f"ended a reply after {len(tokens)} of {sampling_params.max_tokens} tokens with none of the end tokens "
                f"{list(self._policy.ends)}: its --max-model-len may be too small"
            )
        if None in logp:
            raise self._server.refused("sampled a token whose log-probability is not a number")
        return Completion(tokens, logp, self._policy.decode(tokens), stop)


class Server:
    """The connection to the server, which an engine and its reference engine share.

    The connection knows whether the server has the weights of the policy or those of the reference model.

    Args:
        policy: The policy.
        url: The URL of the server.
        group_port: The port of the NCCL group.
        wait: The time in seconds to wait for the server.
    """

    def __init__(self, policy: Policy, url: str, group_port: int, wait: float) -> None:
        self._policy, self._url, self._group_port, self._wait = policy, url, group_port, wait
        self._client: Any = None
        self._has_reference: bool | None = None  # whether the server has the reference's weights; None: unknown

    def forget(self, reference: bool) -> None:
        """Mark the policy's weights (or the reference model's) on the server as old."""
        if self._has_reference is reference:
            self._has_reference = None

    def hold(self, reference: bool) -> None:
        """Send the current weights of the policy (or of the reference model) unless the server has them."""
        if self._client is None:
            self._client = self._connect()
        if self._has_reference is not reference:
            with self._policy.model_or_reference(reference) as lm, torch.no_grad():
                parameters = list(lm.named_parameters())
                named = [(name, weight) for name, weight in parameters if "lora_" not in name]
                shapes = [(plain(name), str(w.dtype).removeprefix("torch."), list(w.shape)) for name, w in named]
                self._call(self._client.update_named_params, shapes, merged(lm, named))
                self._call(self._client.reset_prefix_cache)
            self._has_reference = reference

    def generate(
        self, prompt: Tokens, sampling_params: SamplingParams, seed: Seed, ends: Sequence[int]
    ) -> dict[str, Any]:
        """Sample one reply and return TRL's response.

        All sampling options are explicit, because the server takes its defaults from the model's files.
        """
        response: dict[str, Any] = self._call(
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
        return response

    def refused(self, reason: object) -> UserError:
        """Return the error that this server causes, with the reason on one line."""
        return UserError(f"rollout.url={self._url}: the server {' '.join(str(reason).split())[:300]}")

    def _connect(self) -> Any:
        """Return a connected client; raise UserError if there is no server or the server cannot be used."""
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
                f"rollout=vllm: weights are sent over NCCL, which needs a GPU, but the policy is on {device.type}; "
                f"allowed: trainer.accelerator=gpu, or another rollout"
            ) from error
        except OSError as error:  # all exceptions of `requests` are OSErrors
            raise UserError(
                f"rollout.url={self._url}: no vLLM server answers at this URL (waited "
                f"rollout.server_timeout={self._wait:g} s); start one: trl vllm-serve --model {self._policy.name}"
            ) from error
        except RuntimeError as error:  # TRL raises it for a server without the endpoints for weights
            raise self.refused(f"cannot be sent weights: {error}") from error
        return client

    def _call(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the client; raise UserError with the server's message if it fails."""
        try:
            return method(*args, **kwargs)
        except (UserError, TypeError, AttributeError, KeyError):
            raise
        except OSError as error:
            raise self.refused(f"no longer answers: {type(error).__name__}") from error
        except Exception as error:  # fallback: TRL raises Exception itself for every status other than 200
            if type(error) is not Exception:
                raise
            raise self.refused(f"answered: {error}") from error


def number(seed: Seed) -> int:
    """Return a seed as one integer of 63 bits, the form that vLLM accepts. Different seeds give different integers."""
    return int(np.random.SeedSequence((len(seed), *seed)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def plain(name: str) -> str:
    """Return the name of a parameter in the model without adapters."""
    return name.replace(".base_layer.", ".")


def merged(lm: torch.nn.Module, named: Sequence[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights under their names in the model without adapters, with active LoRA updates added.

    The model itself is not changed.

    Args:
        lm: The model.
        named: The names and weights of the model without the parameters of LoRA.
    """
    for name, weight in named:
        module, _, rest = name.partition(".base_layer.")
        layer: Any = lm.get_submodule(module) if rest else None
        value = weight.data
        if rest == "weight" and not layer.disable_adapters:
            for adapter in layer.active_adapters:
                if adapter in layer.lora_A:
                    value = (value.float() + layer.get_delta_weight(adapter).float()).to(weight.dtype)
        yield plain(name), value
