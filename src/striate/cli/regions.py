"""Options that take several values: ``--regions tumour=1+2+3+4 core=1+3+4``, ``--spacing 1 1 3``.

Click knows one value per option; here each further ``NAME=LABEL+LABEL``, or number, gets the option's name put before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

OPTION = "--regions"
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
REGION = re.compile(r"[^\s=+/\\-][^\s=+/\\]*=[^\s=+/\\]+(\+[^\s=+/\\]+)*")


def repeat_option(arguments: Sequence[str], option: str = OPTION, value: re.Pattern[str] = REGION) -> list[str]:
    """Turn ``--regions a=1 b=2`` into ``--regions a=1 --regions b=2``.

    Values end at the first argument that has not the form of a `value`; all after ``--`` stays as it is.
    """
    out: list[str] = []
    following = False
    for position, argument in enumerate(arguments):
        if argument == "--":
            return [*out, *arguments[position:]]
        first = argument == option or argument.startswith(f"{option}=")
        if following and out[-1] != option and value.fullmatch(argument):
            out += [option, argument]
        else:
            following = first or (following and out[-1] == option)
            out.append(argument)
    return out
