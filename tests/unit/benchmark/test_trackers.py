"""Energy and the machine's state: from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

from electralab.benchmark.trackers.energy import RaplCounter, energy_counter
from electralab.benchmark.trackers.machine import machine_state


def package(folder: Path, number: int, microjoules: int) -> Path:
    found = folder / f"intel-rapl:{number}"
    found.mkdir()
    (found / "max_energy_range_uj").write_text("1000000\n")
    (found / "energy_uj").write_text(f"{microjoules}\n")
    return found


def test_packages_add_up_and_wrap_round(tmp_path: Path) -> None:
    first, second = package(tmp_path, 0, 900_000), package(tmp_path, 1, 100)
    (tmp_path / "intel-rapl:0:0").mkdir()  # a part of a package, which is counted already
    counter = energy_counter("cpu", tmp_path)
    assert isinstance(counter, RaplCounter)
    assert counter.joules() == 0
    (first / "energy_uj").write_text("100000\n")  # over its end
    (second / "energy_uj").write_text("300100\n")
    assert counter.joules() == 0.2 + 0.3


def test_no_counter_gives_no_energy(tmp_path: Path) -> None:
    assert energy_counter("cpu", tmp_path) is None
    broken = tmp_path / "intel-rapl:0"
    broken.mkdir()
    assert energy_counter("cpu", tmp_path) is None  # its files cannot be read


def test_what_cannot_be_read_is_left_out() -> None:
    assert machine_state()["load_average"] >= 0
