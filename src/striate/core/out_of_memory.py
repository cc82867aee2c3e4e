"""`ran_out_of_memory`: whether an error of PyTorch says that memory did not suffice; torch is not loaded for it."""

from __future__ import annotations

SIGNS = ("out of memory", "defaultcpuallocator", "alloc_failed", "allocation_failed")
"""In small letters: CUDA's, ROCm's and Apple's allocators; that of the processor; libraries of a GPU that found no room."""


def ran_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out: the processor's, or a GPU's, of which only CUDA's allocator has an error type of its own."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(sign in text for sign in SIGNS))
