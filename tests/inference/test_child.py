"""Steps of converting run in a process of their own that sees the modules of this one."""

from __future__ import annotations

from striate.inference.engines import child


def test_files_in_the_current_folder_are_not_taken_for_modules(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('a file of the user was run')")
    monkeypatch.chdir(tmp_path)
    assert child.run("race", {}, 250) == ""


def test_what_goes_wrong_comes_back_as_a_sentence():
    assert child.run("nothing", {}, 250).endswith("No module named striate.inference.engines.nothing")
