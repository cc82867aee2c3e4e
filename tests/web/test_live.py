"""The server of a page: this machine alone, one page, a table of questions, nothing of a request on the disk."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time

import pytest

from striate.core.errors import MemoryLimitError, UsageError
from striate.web.live import LiveServer


@pytest.fixture
def served():
    """A server that answers in a thread; ``/slow`` counts how many are answered at once."""
    busy, most = [0], [0]

    def slow(given):
        busy[0] += 1
        most[0] = max(most[0], busy[0])
        time.sleep(0.02)
        busy[0] -= 1
        return {"most": most[0], **given}

    def wrong(given):
        raise {
            "usage": UsageError("no such thing."),
            "memory": MemoryLimitError("too large."),
            "all": MemoryError(),
        }.get(given.get("how", ""), ValueError("/secret/path"))

    server = LiveServer()
    page = f"<p>page {server.token}</p>"
    thread = threading.Thread(target=server.serve, args=(page, {"/slow": slow, "/wrong": wrong}))
    thread.start()
    yield server
    server.shutdown()
    thread.join(10)
    assert not thread.is_alive()


def ask(server, path, *, method="GET", host=None, token=True, headers=()):
    """Return status, headers and body of a request."""
    if token:
        path += ("&" if "?" in path else "?") + f"token={server.token}"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.port}")
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def raw(server, data: bytes) -> bytes:
    """Return all that comes back for `data`."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
        line.sendall(data)
        line.shutdown(socket.SHUT_WR)
        found = b""
        while part := line.recv(65536):
            found += part
    return found


def test_the_page_and_the_answers_need_the_token(served):
    assert served.server_address[0] == "127.0.0.1" and served.url.endswith(f"/?token={served.token}")
    status, headers, body = ask(served, "/")
    assert status == 200 and served.token.encode() in body and headers["Content-Type"].startswith("text/html")
    assert headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff" and "Python" not in str(headers)
    assert not any(name.startswith("Access-Control") for name in headers)
    assert json.loads(ask(served, "/slow?node=3")[2]) == {"most": 1, "node": "3"}
    assert len(served.token) >= 32 and LiveServer().token != served.token
    for path in ("/", "/slow?node=3", "/slow?token=", "/slow?token=x", "/?token=%C3%A9"):
        status, _, body = ask(served, path, token=False)
        assert status == 403 and served.token.encode() not in body and "token" in json.loads(body)["error"]
    twice = ask(served, f"/slow?token=x&token={served.token}", token=False)
    assert twice[0] == 403, "one token, once"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1.evil.example:PORT", "[::1]:PORT", "evil.example:PORT"],
)
def test_a_name_that_was_made_to_lead_here_is_refused(served, host):
    status, _, body = ask(served, "/", host=host.replace("PORT", str(served.port)))
    assert status == 421 and served.token.encode() not in body
    assert ask(served, "/", host=f"LOCALHOST:{served.port}")[0] == 200


def test_two_or_no_hosts_are_refused(served):
    two = (("Host", "evil.example"),)
    assert ask(served, "/", headers=two)[0] == 421
    assert raw(served, f"GET /?token={served.token} HTTP/1.0\r\n\r\n".encode()).startswith(b"HTTP/1.1 421")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_only_get_is_answered(served, method):
    status, _, body = ask(served, "/", method=method)
    assert status == 405 and served.token.encode() not in body


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/slow/", "/slow/../slow", "/SLOW",
     "/\\..\\..", "/?x=1", "/%00", "http://evil.example/slow", "/report.html"],
)  # fmt: skip
def test_no_path_reaches_the_disk(served, path):
    status, _, body = ask(served, path)
    assert status in (400, 404) and b"root:" not in body and json.loads(body)["error"].endswith(".")


def test_what_is_no_request_is_answered_with_a_sentence(served):
    long = b"GET " + b"/" * 70000 + b" HTTP/1.1\r\n\r\n"
    for data in (
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        long,
    ):
        answer = raw(served, data)
        assert b'{"error": "' in answer and b"Traceback" not in answer
    many = "&".join(f"a{n}=1" for n in range(20))
    assert ask(served, f"/slow?{many}")[0] == 400
    assert ask(served, "/slow?a=" + "x" * 4000)[0] == 414
    assert raw(served, b"") == b""
    assert ask(served, "/slow?node=1")[0] == 200, "it still answers"


def test_errors_are_sentences(served):
    found = {how: ask(served, f"/wrong?how={how}") for how in ("usage", "memory", "all", "mistake")}
    assert {how: status for how, (status, _, _) in found.items()} == {
        "usage": 400,
        "memory": 503,
        "all": 503,
        "mistake": 500,
    }
    told = {how: json.loads(body)["error"] for how, (_, _, body) in found.items()}
    assert told["usage"] == "no such thing." and "secret" not in told["mistake"]


def test_one_question_is_answered_at_a_time(served):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(json.loads(ask(served, "/slow")[2]))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [a["most"] for a in answers] == [1] * 8


def test_a_port_that_cannot_be_had_is_a_sentence(served):
    with pytest.raises(UsageError, match=f"--port {served.port}: another program listens there"):
        LiveServer(served.port)
    with pytest.raises(UsageError, match="--port 70000: a number from 0 to 65535 is needed"):
        LiveServer(70000)
