"""`pipelined`: the steps of many items, in turn or with those of neighbours at one time; the results are the same.

`sparing`: a step that fails for the data or the size of one item has a result like others, so that it costs only this item.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from striate.core.errors import DataError, MemoryLimitError

OF_ONE = (DataError, MemoryLimitError, MemoryError)
"""What may be wrong with one item alone."""

Item = TypeVar("Item")
Read = TypeVar("Read")
Seen = TypeVar("Seen")
Made = TypeVar("Made")
Kept = TypeVar("Kept")


def pipelined(
    items: Sequence[Item],
    read: Callable[[Item], Read],
    look: Callable[[Read], Seen],
    compute: Callable[[Item, Read], Made],
    write: Callable[[Item, Made, Seen], Kept],
    *,
    together: bool = True,
) -> Generator[Kept, None, None]:
    """Yield what `write` returns of each item, in the order of the items.

    Parameters
    ----------
    items
        What is worked on.
    read
        Gets an item ready.
    look
        Learns something of what was read that only `write` needs.
    compute
        Always runs in the thread of the caller, one item at a time.
    write
        Puts the result away.
    together
        While one item is computed, it is looked at and the next one is read in a second thread, and the one before is
        written in a third: three items are held at most. False: one step after the other, one item at a time.

    Raises
    ------
    Exception
        Whatever a step raises, when it is that item's turn: what came before is yielded first. No thread is left then, nor
        after an interruption, nor once the iterator is closed; what was computed has been written.
    """
    if not together:
        for item in items:
            ready = read(item)
            seen = look(ready)
            made = compute(item, ready)
            del ready
            kept = write(item, made, seen)
            del made, seen
            yield kept
        return
    ahead, behind = (ThreadPoolExecutor(1, f"striate-{name}") for name in ("ahead", "behind"))
    writing: Future[Kept] | None = None
    try:
        reading = ahead.submit(read, items[0]) if items else None
        for index, item in enumerate(items):
            try:
                ready = reading.result()  # type: ignore[union-attr]
                looking = ahead.submit(look, ready)
                reading = ahead.submit(read, items[index + 1]) if index + 1 < len(items) else None
                made = compute(item, ready)
                del ready
            except Exception:
                if writing is not None:
                    yield writing.result()
                raise
            if writing is not None:
                yield writing.result()
            writing = behind.submit(lambda i, m, s: write(i, m, s.result()), item, made, looking)
            del made, looking
        if writing is not None:
            yield writing.result()
    finally:
        ahead.shutdown(cancel_futures=True)
        behind.shutdown()


def sparing(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return `step`, which returns what is wrong with one item instead of raising it; it is not done where it is given that.

    A `MemoryLimitError` that names neither case nor file is of no single item, and raised.
    """

    def spared(*given: Any) -> Any:
        failed = next((one for one in given if isinstance(one, OF_ONE)), None)
        if failed is not None:
            return failed
        try:
            return step(*given)
        except OF_ONE as error:
            if isinstance(error, MemoryLimitError) and not (error.case or error.path):
                raise
            return error

    return spared
