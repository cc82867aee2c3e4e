"""`in_threads`: one job done on many items, several at one time; the results are the same, in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from striate.core.machine import cores, memory_available_bytes

Item = TypeVar("Item")
Result = TypeVar("Result")

SHARE = 0.5
"""Of the free memory that all threads together may take."""


def in_threads(job: Callable[[Item], Result], items: Sequence[Item], bytes_each: int) -> Generator[Result, None, None]:
    """Yield what `job` returns of each item, in the order of the items.

    As many items are worked on at one time as there are cores, and as fit into `SHARE` of the free memory. Reading,
    decompressing and arithmetic on arrays run side by side; interpreted lines do not.

    Parameters
    ----------
    job
        Its answer depends on the item alone.
    items
        What is worked on.
    bytes_each
        Memory that the largest item takes while it is worked on; 0 where that is not known: one item at a time then.

    Raises
    ------
    Exception
        Whatever `job` raises, when it is that item's turn. No thread is left then, nor once the iterator is closed: what was
        begun is waited for. Close it (`contextlib.closing`) where files must not be written any more when something else fails.
    """
    fitting = int(SHARE * memory_available_bytes()) // bytes_each if bytes_each else 1
    count = min(cores(), len(items), fitting)
    if count < 2:
        yield from map(job, items)
        return
    pool = ThreadPoolExecutor(count, "striate-each")
    ahead: deque[Future[Result]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(job, item))
            if len(ahead) > count:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
