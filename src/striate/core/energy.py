"""What work costs in electricity: read from the machine where it tells, else estimated and called so.

Sources, the first that answers for each part:

* processor: RAPL, the energy counters of the processor packages and, where they are counted apart, of the memory
  (``/sys/class/powercap/intel-rapl:*/energy_uj``; often readable by root only). They count the whole machine, so other
  work that runs at the same time is in them.
* processor, where RAPL cannot be read: seconds of processor time of this process and its children × `WATTS_PER_CORE`. An
  estimate: memory, disk, cooling and power supply are not in it.
* graphics: NVML through ``nvidia-smi``, power of all its cards, read every `EVERY_S` seconds; only where it is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

POWERCAP = Path("/sys/class/powercap")
WATTS_PER_CORE = 10.0
"""Assumed power of one busy core, about that of a server's processor divided by its cores."""
EVERY_S = 10.0
JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True)
class Energy:
    """Electricity of some work.

    Attributes
    ----------
    joules
        Of processor and graphics together.
    source
        Where the number comes from; it holds the word ``estimate`` where any part is not measured.
    """

    joules: float
    source: str

    @property
    def kwh(self) -> float:
        """Kilowatt hours."""
        return self.joules / JOULES_PER_KWH


class EnergyMeter:
    """Measures what happens in a ``with`` block; then `used` tells what it took.

    Parameters
    ----------
    powercap
        Folder of the RAPL counters.
    nvidia_smi
        Program that tells the power of graphics cards; None: the one on the path, if there is one.
    """

    def __init__(self, powercap: Path = POWERCAP, nvidia_smi: str | None = None) -> None:
        self._counters = [c for c in map(_Counter.open, rapl_domains(powercap)) if c is not None]
        self._smi = nvidia_smi or shutil.which("nvidia-smi")
        self._gpu_joules, self._gpu_watts = 0.0, None if self._smi is None else gpu_watts(self._smi)
        self._stop = threading.Event()
        self._used: Energy | None = None

    @property
    def used(self) -> Energy:
        """What the block has taken so far, or took."""
        return self._used or self._now()

    def __enter__(self) -> EnergyMeter:
        self._began_cpu_s = cpu_seconds()
        self._read_at = time.monotonic()
        self._watch = threading.Thread(target=self._follow, daemon=True)
        if self._counters or self._gpu_watts is not None:
            self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._watch.is_alive():
            self._watch.join()
        self._read()
        self._used = self._now()

    def _follow(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._read()

    def _read(self) -> None:
        """Read every counter; often enough that none goes round twice unseen."""
        now = time.monotonic()
        for counter in self._counters:
            counter.read()
        if self._smi is not None and self._gpu_watts is not None:
            watts = gpu_watts(self._smi)
            after = self._gpu_watts if watts is None else watts
            self._gpu_joules += (self._gpu_watts + after) / 2 * (now - self._read_at)
            self._gpu_watts = after
        self._read_at = now

    def _now(self) -> Energy:
        if self._counters:
            joules, source = sum(c.joules for c in self._counters), "RAPL"
        else:
            joules = (cpu_seconds() - self._began_cpu_s) * WATTS_PER_CORE
            source = f"estimate: processor time × {WATTS_PER_CORE:g} W per core"
        if self._gpu_watts is not None:
            joules, source = joules + self._gpu_joules, f"{source}, NVML"
        return Energy(joules, source)


class _Counter:
    """One RAPL domain; `joules` since it was opened."""

    def __init__(self, folder: Path, microjoules: int, highest: int) -> None:
        self.folder, self._last, self._highest = folder, microjoules, highest
        self.joules = 0.0

    @classmethod
    def open(cls, folder: Path) -> _Counter | None:
        now, highest = _number(folder / "energy_uj"), _number(folder / "max_energy_range_uj")
        return None if now is None or highest is None else cls(folder, now, highest)

    def read(self) -> None:
        now = _number(self.folder / "energy_uj")
        if now is None:
            return
        gone = now - self._last
        self.joules += (gone if gone >= 0 else gone + self._highest) / 1e6
        self._last = now


def rapl_domains(powercap: Path = POWERCAP) -> list[Path]:
    """Return the domains that together count everything once: packages, and memory where it is not in them."""
    whole = [
        p for p in sorted(powercap.glob("intel-rapl:*")) if p.name.count(":") == 1 and _name(p).startswith("package")
    ]
    return whole + [p for p in sorted(powercap.glob("intel-rapl:*:*")) if _name(p) == "dram"]


def cpu_seconds() -> float:
    """Return the processor time of this process and of its children that have ended, in seconds."""
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def gpu_watts(program: str) -> float | None:
    """Return the power of all graphics cards in W; None where ``nvidia-smi`` does not tell."""
    asked = [program, "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout
        return sum(float(line) for line in told.split())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _name(folder: Path) -> str:
    try:
        return (folder / "name").read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
