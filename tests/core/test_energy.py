"""`EnergyMeter`: counters that go round, domains that are counted once, and the estimate."""

from __future__ import annotations

import pytest

from striate.core import energy
from striate.core.energy import EnergyMeter, gpu_watts, rapl_domains


def domain(folder, name, microjoules, highest=1_000_000_000):
    folder.mkdir()
    for file, value in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", highest)):
        (folder / file).write_text(f"{value}\n")
    return folder


@pytest.fixture
def powercap(tmp_path):
    domain(tmp_path / "intel-rapl:0", "package-0", 999_000_000)
    domain(tmp_path / "intel-rapl:0:0", "core", 5)
    domain(tmp_path / "intel-rapl:0:1", "dram", 100)
    domain(tmp_path / "intel-rapl:1", "psys", 100)
    return tmp_path


def test_packages_and_memory_are_counted_once(powercap):
    assert [p.name for p in rapl_domains(powercap)] == ["intel-rapl:0", "intel-rapl:0:1"]


def test_counters_that_go_round(powercap):
    with EnergyMeter(powercap, "/no/such/program") as meter:
        (powercap / "intel-rapl:0" / "energy_uj").write_text("2000000")  # over the top: 1 J + 2 J
        (powercap / "intel-rapl:0:1" / "energy_uj").write_text("500100")
    assert meter.used.joules == pytest.approx(3.5)
    assert meter.used.kwh == pytest.approx(3.5 / 3.6e6)
    assert meter.used.source == "RAPL"


def test_without_counters_it_is_an_estimate_and_says_so(tmp_path, monkeypatch):
    clock = iter([10.0, 12.5, 12.5])
    monkeypatch.setattr(energy, "cpu_seconds", lambda: next(clock))
    with EnergyMeter(tmp_path, "/no/such/program") as meter:
        pass
    assert meter.used.joules == pytest.approx(25)
    assert meter.used.source == "estimate: processor time × 10 W per core"


def test_graphics_power_is_added_up(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '100.5\\n99.5\\n'\n")
    program.chmod(0o755)
    assert gpu_watts(str(program)) == 200
    times = iter([0.0, 3.0])
    monkeypatch.setattr(energy.time, "monotonic", lambda: next(times, 3.0))
    monkeypatch.setattr(energy, "cpu_seconds", lambda: 0.0)
    with EnergyMeter(tmp_path / "none", str(program)) as meter:
        pass
    assert meter.used.joules == pytest.approx(600)
    assert meter.used.source.endswith("NVML")
