"""`Section`: one part of a report: a title, a template and what it shows, or the reason why it is not there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a report.

    Attributes
    ----------
    key
        Anchor in the page and name of ``templates/KEY.jinja``.
    title
        Heading; empty for the part that opens the page.
    data
        What the template shows. Text is escaped by the template; only figures made by `reporting.figures` are markup.
    absent
        Why there is nothing to show: a full sentence that is printed instead; None where there is.
    """

    key: str
    title: str
    data: dict[str, Any] = field(default_factory=dict)
    absent: str | None = None
