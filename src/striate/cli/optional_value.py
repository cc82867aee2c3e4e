"""Options whose value may be left out: ``--adversarial`` alone means ``--adversarial 0.05``.

Click would take the next argument, whatever it is; here the usual value is put where no number follows.
"""

from __future__ import annotations

from collections.abc import Sequence

from striate.cli.regions import NUMBER

OPTION, USUAL = "--adversarial", "0.05"


def optional_value(arguments: Sequence[str], option: str = OPTION, usual: str = USUAL) -> list[str]:
    """Turn ``--adversarial COHORT`` into ``--adversarial 0.05 COHORT``; all after ``--`` stays as it is."""
    out: list[str] = []
    for position, argument in enumerate(arguments):
        if argument == "--":
            return [*out, *arguments[position:]]
        out.append(argument)
        following = arguments[position + 1] if position + 1 < len(arguments) else ""
        if argument == option and not NUMBER.fullmatch(following):
            out.append(usual)
    return out
