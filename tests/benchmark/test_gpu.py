"""The GPU benchmark where there is none: its one line, and all of its steps on a processor with a toy of that shape."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, which imports the other benchmark by its name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.delitem(sys.modules, "run", raising=False)
    import gpu

    return gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="here it would run")
def test_it_says_that_there_is_no_device(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert benchmark.main() == 2
    assert capsys.readouterr().err == "benchmark: there is no CUDA device here, and nothing was measured\n"


@pytest.mark.heavy
@pytest.mark.slow
def test_every_step_of_it_in_small(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    monkeypatch.setattr(benchmark, "SHAPE", {**benchmark.SHAPE, **small, "num_key_value_heads": 1, "vocab_size": 512})
    monkeypatch.setattr(benchmark, "DEVICE", "cpu")
    monkeypatch.setattr(benchmark, "LARGE", 64)
    for name, answer in (("synchronize", None), ("reset_peak_memory_stats", None), ("max_memory_allocated", 2**30)):
        monkeypatch.setattr(torch.cuda, name, lambda answer=answer: answer)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "none")
    benchmark.saved(tmp_path)
    machine, engines, rounds = benchmark.tables(tmp_path, benchmark.Sizes(2, 2, 4, 1))
    assert [list(table.columns[0].cells) for table in (machine, engines, rounds)] == [
        ["none"], ["local", "generate", "hf"], ["amend, local", "amend, hf", "TRL"],
    ]  # fmt: skip
    for table in (engines, rounds):
        assert all(float(cell.replace(",", "")) > 0 for cell in table.columns[2].cells)


def test_what_a_decoding_step_reads(benchmark: ModuleType) -> None:
    """By hand: the weights, and two layers' keys and values of three rows of five tokens, in float32."""
    from toys import policy

    lm = policy().lm
    kept = 2 * 2 * lm.config.num_key_value_heads * (16 // 4) * 4
    assert benchmark.step_bytes(lm, 3, 5) == 4 * sum(w.numel() for w in lm.parameters()) + 15 * kept
