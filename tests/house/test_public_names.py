"""Each public name stays what it is, whatever else was imported: no package of that name takes its place."""

import subprocess
import sys

LOAD_ALL = """
import importlib, pkgutil, striate
for module in pkgutil.walk_packages(striate.__path__, "striate."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name, home in striate._HOME.items():
    if getattr(striate, name) is not getattr(importlib.import_module(home), name):
        print(name)
"""


def test_public_names_are_their_homes_objects_when_all_modules_are_loaded():
    done = subprocess.run([sys.executable, "-c", LOAD_ALL], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
