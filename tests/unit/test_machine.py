"""Which device a job gets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from electralab import machine
from electralab.errors import UserError
from electralab.pretrain.trainer import _use_bf16
from electralab.records import Meter
from electralab.speed.bf16 import has_bf16


@pytest.fixture(autouse=True)
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(machine, "_held", [])
    yield machine._held
    for lock in machine._held:
        lock.close()


def with_gpus(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """GPUs by their own names, in the order in which a job sees them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(names))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid=names[number]))


def test_jobs_land_on_different_gpus_and_then_share_them_evenly(
    monkeypatch: pytest.MonkeyPatch, held: list[Any]
) -> None:
    with_gpus(monkeypatch, "a", "b", "c")
    assert [machine.select_device() for _ in range(7)] == [f"cuda:{number}" for number in (0, 1, 2, 0, 1, 2, 0)]
    held[1].close()  # the job on the second GPU has ended
    assert machine.select_device("gpu") == "cuda:1"


def test_gpus_are_known_by_their_names_not_by_the_numbers_that_a_job_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, "a", "b")
    assert machine.select_device() == "cuda:0"
    with_gpus(monkeypatch, "b", "a")  # another CUDA_VISIBLE_DEVICES
    assert machine.select_device() == "cuda:0"
    with_gpus(monkeypatch, "a", "b", "c")
    assert machine.select_device() == "cuda:2"


def test_without_a_place_for_locks_there_is_no_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_gpus(monkeypatch, "a", "b")
    monkeypatch.setattr("tempfile.tempdir", "/proc")
    assert machine.select_device() == "cuda:0"


def test_one_gpu_several_or_a_given_one_need_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, "a", "b")
    assert machine.select_device(spread=True) == "cuda"
    assert machine.select_device("cuda:1") == "cuda:1"
    assert machine.select_device("cpu") == "cpu"
    with_gpus(monkeypatch, "a")
    assert machine.select_device() == machine.select_device("gpu") == "cuda"


def test_a_job_that_must_have_a_gpu_does_not_train_on_a_cpu(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    with_gpus(monkeypatch)
    with pytest.raises(UserError, match=r"device: gpu, but PyTorch sees no GPU here: .*device: auto"):
        machine.select_device("gpu")
    monkeypatch.setattr(machine, "gpus_per_job", lambda: 1)
    assert machine.select_device("auto") == "cpu"
    assert "has a GPU, but PyTorch sees none" in capsys.readouterr().err


def test_slots_follow_the_stated_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [machine.gpus_per_job(device) for device in ("auto", "cpu", "gpu")] == [0, 0, 1]


def test_emulated_bf16_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch answers on a V100: without `including_emulation=False` it says yes."""
    asked = []
    device_of = torch.cuda.device
    monkeypatch.setattr(torch.cuda, "device", lambda device: asked.append(str(device)) or device_of(-1))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    settings: Any = SimpleNamespace(precision="auto")
    assert not _use_bf16(settings, torch.device("cuda:1"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert _use_bf16(settings, torch.device("cuda:1"))
    assert asked == ["cuda:1"] * 2
    assert not has_bf16("cpu")


def test_the_gpu_is_named_in_the_provenance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU of {device}")
    assert Meter("cuda:1", 1).provenance().gpu == "GPU of cuda:1"
    assert Meter("cpu", 1).provenance().gpu is None
