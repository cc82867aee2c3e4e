"""One helper process that runs a job on what it is sent, in order.

The process is a fresh interpreter that talks through its standard streams. It does not import the caller's main module
(as `multiprocessing` does), so that it works from notebooks and unguarded scripts, and from within other workers. It
ends when its caller ends, however that happens, because its input then closes.
"""

from __future__ import annotations

import pickle
import select
import signal
import subprocess
import sys
import traceback
from typing import IO, Any, Protocol

_START = "import sys; sys.path[:] = {path!r}; from striate.data.worker import serve; serve()"


class Job(Protocol):
    """Something picklable that a worker calls again and again."""

    def __call__(self, item: Any) -> Any:
        """Work on one item; both the item and the result are picklable."""
        ...


class WorkerLost(Exception):  # noqa: N818
    """The process could not start or ended unasked (for instance killed for want of memory); never shown to users."""


class _Remote(Exception):  # noqa: N818
    """Carries the text of a worker's traceback as the cause of the error that is raised here."""


class Worker:
    """A started process; give it items with `submit`, take results in the same order with `result`."""

    def __init__(self, job: Job) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START.format(path=sys.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        except OSError as error:
            raise WorkerLost(f"a worker could not start ({error})") from error
        self.submit(job)

    @property
    def pid(self) -> int:
        """Process number."""
        return self._process.pid

    def submit(self, item: Any) -> None:
        """Send an item; returns before it is worked on.

        Raises
        ------
        WorkerLost
            When the process has ended.
        """
        try:
            stream = _open(self._process.stdin)
            pickle.dump(item, stream, protocol=pickle.HIGHEST_PROTOCOL)
            stream.flush()
        except (OSError, ValueError) as error:
            raise WorkerLost(self._epitaph()) from error

    def result(self) -> Any:
        """Wait for the next result.

        Raises
        ------
        WorkerLost
            When the process has ended.
        Exception
            What the job raised, with the worker's whole traceback as its cause.
        """
        try:
            error, value = pickle.load(_open(self._process.stdout))
        except (EOFError, OSError, ValueError, pickle.UnpicklingError) as lost:
            raise WorkerLost(self._epitaph()) from lost
        if error is not None:
            raise error from _Remote(f"in a worker process:\n{value}")
        return value

    def ready(self) -> bool:
        """Tell whether the first result (or the end of the process) can be had without waiting.

        Only meaningful before the first `result`; True where the system cannot tell (Windows).
        """
        try:
            return bool(select.select([_open(self._process.stdout)], [], [], 0)[0])
        except (OSError, ValueError):
            return True

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            try:
                _open(stream).close()
            except OSError:
                continue
        self._process.wait()

    def _epitaph(self) -> str:
        self._process.kill()
        code = self._process.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"worker process {self.pid} ended unasked ({how}{', perhaps for want of memory' if code == -9 else ''})"


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("stream None: a pipe is needed.")
    return stream


def _portable(error: BaseException, text: str) -> BaseException:
    """Return `error` if it survives pickling, else a RuntimeError with its text."""
    try:
        return_trip = pickle.loads(pickle.dumps(error))
        if type(return_trip) is type(error) and str(return_trip) == str(error):
            return error
    except Exception:
        return RuntimeError(text)
    return RuntimeError(text)


def serve() -> None:
    """Run in the process: the first message is the job, each further one an item."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller decides; its end closes our input
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what a library prints must not enter the pipe
    job: Job | None = None
    while True:
        try:
            message = pickle.load(incoming)
        except (EOFError, KeyboardInterrupt):
            return
        answer: tuple[BaseException | None, Any]
        if job is None:
            job = message
            continue
        try:
            answer = (None, job(message))
        except BaseException as error:
            text = "".join(traceback.format_exception(error))
            answer = (_portable(error, text), text)
        try:
            pickle.dump(answer, outgoing, protocol=pickle.HIGHEST_PROTOCOL)
            outgoing.flush()
        except OSError:
            return
