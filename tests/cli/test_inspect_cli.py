"""``striate inspect`` as a user meets it: a page, a sum, one JSON document, a page that is served, and sentences."""

from __future__ import annotations

import http.client
import json
import re
import threading
from urllib.parse import urlsplit

import pytest
from test_explain_cli import given as given

from striate.cli.main import run
from striate.web import inspection
from striate.web.live import LiveServer


def test_the_page_is_named_and_the_output_told(given, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["inspect", *given, "--out", str(out)]) == 0
    told = capsys.readouterr()
    document = json.loads((out / "inspection.json").read_text())
    assert told.out == "" and f"Look at it: {out / 'report.html'}" in told.err
    place = ",".join(str(i) for i in document["at"])
    assert (
        f"s1 at {place}: lesion " in told.err and f"{document['output']['probability']:.3f} in this window" in told.err
    )


def test_a_sum_is_a_table(given, tmp_path, capsys):
    assert run(["inspect", *given, "--unit", "encoder.0:2", "--at", "6,7,5"]) == 0
    told = capsys.readouterr()
    assert told.out == "" and re.search(r"^  term +weight +input +product$", told.err, re.MULTILINE)
    assert re.search(r"^total in 64 bits \S+, the network in 32 bits \S+: \S+ apart$", told.err, re.MULTILINE)
    assert run(["inspect", *given, "--unit", "1:2", "--at", "6,7,5", "--json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert told.err == "" and found["node"] == 1 and found["unit"] == 2 and found["at"] is not None
    kept = sum(t["product"] for t in found["terms"]) + found["left_out"]["sum"] + found["offset"]
    assert kept == pytest.approx(found["total"]) == pytest.approx(found["value"], rel=1e-4)


def test_json_and_a_dry_run(given, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["inspect", *given, "--out", str(out), "--dry-run"]) == 0
    assert "nothing was written" in capsys.readouterr().err and not out.exists()
    assert run(["inspect", *given, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passes"] > 2
    assert run(["inspect", *given, "--out", str(out), "--json"]) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert told.err == "" and document["out"] == str(out) and document["url"] is None
    assert document["nodes"] == json.loads((out / "inspection.json").read_text())["nodes"]


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        ([], 2, "inspect: no --out was given"),
        (["--live", "--unit", "head:0"], 2, "--live: no --out was given"),
        (["--out", "OUT", "--port", "8000"], 2, "--port 8000: it belongs to --live"),
        (["--out", "OUT", "--live", "--port", "70000"], 2, "--port 70000: a number from 0 to 65535"),
        (["--out", "OUT", "--at", "6,seven"], 2, "--at 6,seven: the numbers of a voxel are needed"),
        (["--out", "OUT", "--at", "6,7"], 2, "--at 6,7: 2 numbers were given"),
        (["--out", "OUT", "--at", "6,7,99"], 2, "--at 6,7,99: case s1 has 14 × 14 × 12 voxels"),
        (["--unit", "nowhere:3"], 2, "unknown layer 'nowhere'"),
        (["--unit", "head"], 2, "LAYER:NUMBER is needed"),
        (["--out", "FULL"], 3, "it exists and is not empty"),
    ],
)
def test_mistakes_are_sentences(given, tmp_path, capsys, options, code, sentence):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept").write_text("")
    names = {"OUT": str(tmp_path / "out"), "FULL": str(tmp_path / "full")}
    assert run(["inspect", *given, *(names.get(o, o) for o in options)]) == code
    told = capsys.readouterr().err
    assert sentence in told and "Traceback" not in told and not (tmp_path / "out").exists()


def test_a_port_in_use_is_told_before_anything_is_computed(given, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("striate.workflows.inspect.look_into", lambda *_: pytest.fail("work was begun"))
    server = LiveServer()
    try:
        code = run(["inspect", *given, "--out", str(tmp_path / "out"), "--live", "--port", str(server.port)])
    finally:
        server.server_close()
    assert code == 2 and f"--port {server.port}: another program listens there" in capsys.readouterr().err


def test_the_served_page_opens_every_number(given, tmp_path, capsys, monkeypatch):
    """The page that is served asks; the one on disk does not know how. Ctrl-C ends it with 130 and no more than a word."""
    kept, whole, seen = [], inspection.serve, {}

    def serve(server, inside, folder):
        kept.append((server, inside))
        thread = threading.Thread(target=whole, args=(server, inside, folder))
        thread.start()
        seen["page"] = get(server.url)
        query = f"&token={server.token}"
        base = f"http://127.0.0.1:{server.port}"
        seen["sum"] = get(f"{base}/sum?node=1&unit=2&at=3,4,5{query}")
        seen["maps"] = get(f"{base}/maps?node=1&plane={query}")
        seen["other"] = get(f"{base}/maps?node=1&plane=0{query}")
        seen["wrong"] = [
            get(f"{base}/{path}{query}")
            for path in ("sum?node=999&unit=0&at=1,1,1", "sum?node=1&unit=99&at=1,1,1", "sum?node=1&unit=0&at=1,1", "sum?unit=0",
                         "sum?node=1&unit=0&at=99,1,1", "sum?node=-1&unit=0&at=1,1,1", "sum?node=x&unit=0", "maps?node=999",
                         "maps?node=1&plane=99", "sum?node=1&unit=0&file=/etc/passwd", "sum?node=" + "9" * 500)
        ]  # fmt: skip
        server.shutdown()
        thread.join(20)
        raise KeyboardInterrupt

    monkeypatch.setattr("striate.web.inspection.serve", serve)
    out = tmp_path / "out"
    assert run(["inspect", *given, "--out", str(out), "--live"]) == 130
    told = capsys.readouterr().err
    ((server, inside),) = kept
    assert f"Open {server.url} on this machine" in told and told.strip().splitlines()[-1] == "striate: interrupted"
    assert server.token not in (out / "report.html").read_text() + (out / "inspection.json").read_text()
    status, page = seen["page"]
    assert status == 200 and server.token in page and "connect-src" in page
    assert "connect-src" not in (out / "report.html").read_text()
    status, text = seen["sum"]
    assert status == 200 and json.loads(text) == json.loads(json.dumps(inside.sum(1, 2, (3, 4, 5))))
    for name in ("maps", "other"):
        sheet = json.loads(seen[name][1])
        assert sheet["src"].startswith("data:image/") and sheet["units"] == list(range(inside.trace.nodes[1].units))
    assert json.loads(seen["other"][1])["plane"] == 0
    for status, text in seen["wrong"]:
        assert status == 400 and json.loads(text)["error"], text


def get(url):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found
