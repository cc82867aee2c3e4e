"""Ctrl-C at any moment: exit code 130 and at most one line, also while Python still imports."""

from __future__ import annotations

import os
import signal
import time

import pytest

from striate.cli import main

AT_IMPORT = """
import _signal, os, runpy, sys  # not `signal`, whose import is one of the moments

class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            exec("os.kill(os.getpid(), _signal.SIGINT)")  # as packages do; Python remembers that it came there

_signal.signal(_signal.SIGINT, _signal.default_int_handler)  # what runs tests may ignore it
moment, sys.argv = sys.argv[1], ["striate", "check", "nowhere"]
sys.meta_path.insert(0, Stop())
runpy.run_module("striate", run_name="__main__")
"""


@pytest.mark.parametrize(
    "moment",
    ["signal", "striate.cli.main", "striate.core.errors", "striate.cli.regions", "typer", "striate.cli.check", "numpy"],
)
def test_while_modules_are_imported(python, moment):
    done = python("-c", AT_IMPORT, moment)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip() in ("", "striate: interrupted")


def test_what_a_package_makes_of_it_is_no_mistake_of_ours(monkeypatch, capsys):
    def broken(verb, arguments):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        except KeyboardInterrupt as error:
            raise ImportError("the extension failed to import") from error

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(main, "_run_verb", broken)
    try:
        assert main.run(["check", "nowhere"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "striate: interrupted\n"
