"""The commands that a document shows, to be run by tests."""

import re

from tests.cli.workplace import ROOT


def section(document: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its level or above."""
    text = (ROOT / "docs" / document).read_text()
    found = re.search(rf"^(#+) {re.escape(heading)}\n", text, re.MULTILINE)
    if found is None:
        raise LookupError(f"{document} has no heading {heading!r}")
    level = len(found[1])
    below = text[found.end() :]
    end = re.search(rf"^#{{1,{level}}} ", below, re.MULTILINE)
    return below[: end.start()] if end else below


def shell_blocks(document: str, heading: str, *, containing: str = "") -> list[str]:
    """The blocks of commands in a section."""
    fences = re.findall(r"^```(?:sh|console)\n(.*?)^```$", section(document, heading), re.MULTILINE | re.DOTALL)
    return [block for block in fences if containing in block]
