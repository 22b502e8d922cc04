"""A server on loopback that speaks what ``VLLMClient`` speaks with vLLM, and the little of vLLM that it imports.

The client is TRL's own, unchanged but for one line (that the trainer's device is a CUDA device). The server samples
with amend's local engine from a model of its own, whose weights are those it was last sent. Of vLLM's NCCL group there
is a stand-in: the trainer, rank 0, listens on ``group_port``, the server connects to it, and tensors go through the
socket as bytes, in the order in which they were announced. Both ways in which vLLM offers the trainer's end of that
group are there: static (before 0.28) and stateful.
"""

from __future__ import annotations

import copy
import importlib
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from amend.policy.policy import Policy
from amend.rollout.local import Local
from amend.types import SamplingParams


class Loopback(ThreadingHTTPServer):
    """The server. What it was asked is in ``asked``; ``said`` may be set to change what it answers.

    It stands for `trl vllm-serve`, started with ``policy``'s model, and begins with other weights.
    """

    daemon_threads = False  # ``close`` waits for them: none may outlive its test

    def __init__(self, policy: Policy) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.policy = copy.deepcopy(policy)
        with torch.no_grad():
            for weight in self.policy.lm.parameters():
                weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(3)))
        self.asked: list[tuple[str, Any]] = []
        self.connections: list[socket.socket] = []
        self.logprobs_mode = "processed_logprobs"
        self.weight_transfer: Any = {"backend": "nccl"}
        self.development = True
        self.said: Any = lambda choice: choice
        self.lock, self.group, self.updating = threading.Lock(), None, False
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def times(self, path: str) -> int:
        """How often an endpoint was asked."""
        return sum(one == path for one, _ in self.asked)

    def get_request(self) -> tuple[socket.socket, Any]:
        """A new connection, remembered, for clients keep theirs open."""
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address

    def close(self) -> None:
        """Every connection and thread."""
        self.shutdown()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self.thread.join()
        if self.group is not None:
            self.group.close()

    # the endpoints ---------------------------------------------------------------------------------------------------

    def get(self, path: str) -> tuple[int, Any]:
        if path.startswith("/server_info") and self.development:
            model = {"logprobs_mode": self.logprobs_mode}
            return 200, {"vllm_config": {"model_config": model, "weight_transfer_config": self.weight_transfer}}
        known = {"/health": {}, "/v1/models": {"data": [{"id": "toy"}]}, "/get_world_size": {"world_size": 1}}
        return (200, known[path]) if path in known else (404, {"detail": "Not Found"})

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        if path == "/v1/completions":
            return self.complete(body)
        if path == "/init_weight_transfer_engine":
            info = body["init_info"]
            self.group = joined(info["master_address"], info["master_port"])
            return 200, {}
        if path in ("/start_weight_update", "/finish_weight_update"):
            assert self.updating is (path == "/finish_weight_update")
            self.updating = not self.updating
            return 200, {}
        if path == "/update_weights":
            assert self.updating
            self.receive(body["update_info"])
            return 200, {}
        return (200, {"success": True}) if path == "/reset_prefix_cache" else (404, {"detail": "Not Found"})

    def receive(self, info: dict[str, Any]) -> None:
        """Weights by their names, into the server's model: a name or a shape it does not know is an error."""
        own = dict(self.policy.lm.named_parameters())
        assert set(info["names"]) == set(own)
        for name, dtype, shape in zip(info["names"], info["dtype_names"], info["shapes"], strict=True):
            kind = getattr(torch, dtype)
            size = int(np.prod(shape)) * kind.itemsize
            data = torch.frombuffer(bytearray(exactly(self.group, size)), dtype=kind).view(shape)
            with torch.no_grad():
                own[name].copy_(data)

    def complete(self, body: dict[str, Any]) -> tuple[int, Any]:
        """One choice a prompt, with the words of vLLM's completions endpoint; a seed is the whole request's."""
        assert (body["n"], body["top_p"], body["top_k"], body["min_p"], body["repetition_penalty"]) == (1, 1, 0, 0, 1)
        assert body["return_token_ids"] and body["return_tokens_as_token_ids"] and body["logprobs"] == 0
        self.policy.ends = tuple(body["stop_token_ids"])
        sampling_params, choices = SamplingParams(body["temperature"], body["max_tokens"]), []
        for prompt in body["prompt"]:
            if len(prompt) + body["max_tokens"] > 200:
                return 400, {"error": {"message": "This model's maximum context length is 200 tokens."}}
            reply = Local(self.policy, max_batch_size=1, compaction_threshold=0.5).sample(
                [tuple(prompt)], sampling_params, [(body["seed"],)]
            )[0]
            names = [f"token_id:{token}" for token in reply.tokens]
            logprobs = {"tokens": names, "token_logprobs": list(reply.logp), "top_logprobs": [{} for _ in names]}
            choice = {"prompt_token_ids": prompt, "token_ids": list(reply.tokens), "logprobs": logprobs}
            choices.append(self.said(choice | {"finish_reason": "stop" if reply.stop == "end" else "length"}))
        return 200, {"choices": choices}


class Handler(BaseHTTPRequestHandler):
    """HTTP and JSON; one request at a time reaches the model."""

    protocol_version = "HTTP/1.1"
    server: Loopback

    def do_GET(self) -> None:
        self.answer(*self.server.get(self.path))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        with self.server.lock:
            self.server.asked.append((self.path, body))
            try:
                found = self.server.post(self.path, body)
            except AssertionError as error:
                found = (418, {"detail": f"the loopback server: {error}"})
        self.answer(*found)

    def answer(self, status: int, found: Any) -> None:
        data = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None: ...


# the group ----------------------------------------------------------------------------------------------------------


def joined(address: str, port: int) -> socket.socket:
    """The server's end: it connects to rank 0, which may not listen yet."""
    for _ in range(200):
        try:
            return socket.create_connection((address, port), timeout=10)
        except ConnectionRefusedError:
            time.sleep(0.01)
    raise AssertionError(f"nobody listens on {address}:{port}")


def exactly(group: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = group.recv(size - len(data))
        assert part, "the group was closed"
        data += part
    return data


def opened(info: dict[str, Any]) -> Any:
    """The trainer's end."""
    assert info["world_size"] == 2 and info["rank_offset"] == 1
    with socket.create_server((info["master_address"], info["master_port"])) as listener:
        connection, _ = listener.accept()
    return SimpleNamespace(send=connection.sendall, group=SimpleNamespace(store=None, socket=connection))


def broadcast(iterator: Iterator[tuple[str, torch.Tensor]], group: Any) -> None:
    for _, weight in iterator:
        group.send(weight.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


# what the client imports of vLLM ------------------------------------------------------------------------------------


def pretended(version: str) -> dict[str, ModuleType]:
    """vLLM's modules, as far as TRL's client looks into them."""

    def stateful(iterator: Any, group: Any, src: int, post_iter_func: Any) -> None:
        broadcast(iterator, group)

    class Static:
        trainer_init = staticmethod(opened)

        @staticmethod
        def trainer_send_weights(iterator: Any, trainer_args: Any) -> None:
            broadcast(iterator, trainer_args.group)

    transfer = "vllm.distributed.weight_transfer"
    contents: dict[str, dict[str, Any]] = {
        "vllm": {"__version__": version},
        "vllm.utils": {},
        "vllm.utils.network_utils": {"get_ip": lambda: "127.0.0.1"},
        "vllm.distributed": {},
        transfer: {},
        f"{transfer}.nccl_common": {"trainer_init": opened},
        f"{transfer}.packed_tensor": {"packed_nccl_broadcast_producer": stateful},
        f"{transfer}.nccl_engine": {"NCCLTrainerSendWeightsArgs": SimpleNamespace, "NCCLWeightTransferEngine": Static},
    }
    modules = {}
    for name, inside in contents.items():
        modules[name] = ModuleType(name)
        modules[name].__spec__ = ModuleSpec(name, None, is_package=True)
        modules[name].__path__ = []
        modules[name].__dict__.update(inside)
    return modules


@contextmanager
def pretending(version: str, on_gpu: bool = True) -> Iterator[None]:
    """Within, TRL's client believes that this vLLM is installed, and that the trainer is on a GPU."""
    client = "trl.generation.vllm_client"
    importlib.import_module(client)  # and with it the rest of its package, which would look for more of vLLM
    with pytest.MonkeyPatch.context() as patch:
        for name, module in pretended(version).items():
            patch.setitem(sys.modules, name, module)
        patch.delitem(sys.modules, client, raising=False)
        theirs = importlib.import_module(client).VLLMClient
        introduce = theirs.init_communicator
        if on_gpu:
            patch.setattr(theirs, "init_communicator", lambda self, device: introduce(self, torch.device("cuda")))
        yield
        sys.modules.pop(client, None)
