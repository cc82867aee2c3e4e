"""A page and its answers, served on this machine alone, by Python's own server.

It listens on 127.0.0.1, and only a browser that was given the address with its token gets an answer. A page of another site
cannot ask in its place: the token is not known to it, and a name that was made to lead here (DNS rebinding) is another ``Host``
than this one. Nothing of a request becomes a path: there is one page, held in memory, and a table of questions.
"""

from __future__ import annotations

import errno
import hmac
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from striate.core.errors import ResourceError, StriateError, UsageError
from striate.core.files import plain

Answer = Callable[[Mapping[str, str]], dict[str, Any]]
"""From the parameters of a question, without the token, to a JSON document."""

HOST = "127.0.0.1"
TIMEOUT_S = 30.0
"""How long a browser may take to say what it wants."""
LONGEST = 2048
"""Characters of an address that is looked at."""
HEADERS = {
    "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
}  # fmt: skip


class LiveServer(ThreadingHTTPServer):
    """One page and a table of questions. The port is taken at once, before long work; `serve` answers.

    Parameters
    ----------
    port
        To listen on; 0: one that is free.

    Raises
    ------
    UsageError
        When the port cannot be had.
    """

    daemon_threads = True
    request_queue_size = 16

    def __init__(self, port: int = 0) -> None:
        if not 0 <= port <= 65535:
            raise UsageError(f"--port {port}: a number from 0 to 65535 is needed, 0 being any that is free.")
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UsageError(_refusal(port, error)) from error
        self.token, self.lock = secrets.token_urlsafe(24), threading.Lock()
        self.page, self.answers = b"", dict[str, Answer]()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """The page's address, with its token."""
        return f"http://{HOST}:{self.port}/?token={self.token}"

    def serve(self, page: str, answers: Mapping[str, Answer]) -> None:
        """Answer until Ctrl-C, which ends it; a question that is being answered is left unanswered.

        Parameters
        ----------
        page
            Its HTML.
        answers
            Path, such as ``/sum``, to what answers it. One question is answered at a time; others wait.
        """
        self.page, self.answers = page.encode("utf-8", errors="backslashreplace"), dict(answers)
        try:
            self.serve_forever(poll_interval=0.2)
        finally:
            self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away."""


def _refusal(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {port}: another program listens there. Give another one, or none: a free one is then taken."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"--port {port}: it is not permitted to listen there. Give a number above 1023, or none."
    return f"--port {port}: it cannot be listened on ({error.strerror or error})."


class _Handler(BaseHTTPRequestHandler):
    server: LiveServer
    server_version, sys_version = "striate", ""
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S

    def do_GET(self) -> None:
        """Give the page, or the answer to a question."""
        allowed = {f"{name}:{self.server.port}" for name in (HOST, "localhost")}
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or hosts[0].strip().lower() not in allowed:
            self._say(HTTPStatus.MISDIRECTED_REQUEST, f"only {HOST}:{self.server.port} is answered.")
            return
        if len(self.path) > LONGEST:
            self._say(HTTPStatus.REQUEST_URI_TOO_LONG, f"the address has {len(self.path)} characters, too many.")
            return
        try:
            address = urlsplit(self.path)
            if address.scheme or address.netloc:
                raise ValueError("a whole address, as proxies are asked")
            pairs = parse_qsl(address.query, keep_blank_values=True, max_num_fields=8, errors="strict")
        except ValueError:
            self._say(HTTPStatus.BAD_REQUEST, "the address cannot be read.")
            return
        given = dict(pairs)
        token = given.pop("token", "")
        if len(given) + 1 != len(pairs) or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._say(HTTPStatus.FORBIDDEN, "the address must hold the token that striate inspect printed.")
        elif address.path == "/" and not given:
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)
        elif address.path in self.server.answers:
            self._answer(self.server.answers[address.path], given)
        else:
            known = ", ".join(["/", *self.server.answers])
            self._say(HTTPStatus.NOT_FOUND, f"there is no such page; these are there: {known}.")

    def _answer(self, answer: Answer, given: Mapping[str, str]) -> None:
        try:
            with self.server.lock:
                document = answer(given)
        except ResourceError as error:
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except StriateError as error:
            self._say(HTTPStatus.BAD_REQUEST, str(error))
        except MemoryError:
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, "memory ran out; close other programs and ask again.")
        except Exception as error:
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: this is a mistake in Striate.")
        else:
            self._json(HTTPStatus.OK, document)

    def _say(self, status: HTTPStatus, sentence: str) -> None:
        self._json(status, {"error": sentence})

    def _json(self, status: HTTPStatus, document: dict[str, Any]) -> None:
        text = json.dumps(plain(document), ensure_ascii=False, allow_nan=False)
        self._send(status, "application/json; charset=utf-8", text.encode("utf-8", errors="backslashreplace"))

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        if status != HTTPStatus.OK:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Say in JSON what the server itself refuses: other methods, what is no HTTP."""
        self.close_connection = True
        try:
            status = HTTPStatus(code)
        except ValueError:
            status = HTTPStatus.BAD_REQUEST
        if not hasattr(self, "request_version"):
            self.request_version = "HTTP/1.0"
        if status == HTTPStatus.NOT_IMPLEMENTED:
            status = HTTPStatus.METHOD_NOT_ALLOWED
            self._say(status, "only GET is answered.")
        else:
            self._say(status, f"{(message or status.phrase).rstrip('.')}.")

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  (the name that http.server gives it)
        """Keep quiet: addresses hold the token."""
