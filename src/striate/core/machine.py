"""What this machine is and what it has left: cores, memory, time."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import sys
import time
from pathlib import Path
from typing import Any

from striate.core.errors import UsageError

START = time.monotonic()


def cores() -> int:
    """Number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_available_bytes() -> int:
    """Memory that can still be taken, in bytes; a container's limit (cgroup v2) is respected."""
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text().strip()
        if limit.isdigit() and used.isdigit():
            free = min(free, max(0, int(limit) - int(used)))
    except OSError:
        return free
    return free


def resident_bytes() -> int:
    """Resident memory of this process now, in bytes."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_rss_bytes() -> int:
    """Largest resident memory of this process so far, in bytes."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    with contextlib.suppress(OSError, StopIteration):  # Linux: getrusage counts what the process was forked from, too
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def restart_peak_rss() -> bool:
    """Let `peak_rss_bytes` begin again at what is resident now; False where the system cannot do that (Linux can)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


@functools.cache
def processor() -> str:
    """Name of the processor with what it computes networks by, for the record and for what was measured on it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    name = re.search(r"model name\s*:\s*(.+)", text)
    flags = sorted(set(re.findall(r"\b(?:avx2|avx_vnni|avx512f|avx512_vnni|avx512_bf16|amx_bf16|amx_int8)\b", text)))
    return f"{name.group(1).strip() if name else platform.machine()} ({', '.join(flags)})"


def computes_in_bf16() -> bool:
    """Tell whether the processor has instructions for bf16; without them torch's bf16 is slower than fp32 by far."""
    return any(flag in processor() for flag in ("avx512_bf16", "amx_bf16"))


def may_have_gpu() -> bool:
    """Tell whether a GPU that computes networks may be there, without asking a library that takes a second to load."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if sys.platform == "win32":
        return Path("C:/Windows/System32/nvcuda.dll").exists()
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))


def native_precision() -> str:
    """Return ``bf16`` where the processor has instructions for it, else ``fp32``."""
    return "bf16" if computes_in_bf16() else "fp32"


def describe() -> dict[str, Any]:
    """Describe the machine for a record: no host or user name is taken."""
    import psutil

    return {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "processor": processor(),
        "cores": cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
    }


_TIME = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def seconds_of(text: str) -> float:
    """Read a duration such as ``90s``, ``10m``, ``1h30m``; a bare number is seconds.

    Raises
    ------
    UsageError
        When the text is not a positive duration.
    """
    value = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        total = float(value)
    elif re.fullmatch(r"(\d+(\.\d+)?[smhd])+", value):
        total = sum(float(n) * _TIME[u] for n, u in re.findall(r"(\d+(?:\.\d+)?)([smhd])", value))
    else:
        raise UsageError(f"duration '{text}': a number with s, m, h or d is needed, for instance 10m or 1h30m.")
    if total <= 0:
        raise UsageError(f"duration '{text}': more than zero seconds are needed, for instance 10m.")
    return total


def bytes_of(text: str) -> int:
    """Read a size such as ``6G``, ``512M`` or ``6GB``; a bare number is bytes.

    Raises
    ------
    UsageError
        When the text is not a positive size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if not match or float(match.group(1)) <= 0:
        raise UsageError(f"size '{text}': a positive number with K, M, G or T is needed, for instance 6G.")
    return int(float(match.group(1)) * _SIZE[match.group(2).upper()])


def show_seconds(seconds: float) -> str:
    """Write a duration for people: ``41 s``, ``9 min 30 s``, ``1 h 05 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def show_bytes(size: float) -> str:
    """Write a size for people: ``512 MB``, ``1.9 GB`` (powers of 1000)."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}" if scale >= 1e9 else f"{size / scale:.0f} {unit}"
    return f"{size:.0f} B"
