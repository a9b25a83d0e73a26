"""`docs/reasons.md` and the list of reason codes are one."""

import re
from pathlib import Path

from mtls_as.rfc.refusal import Refusal

DOCUMENT = Path(__file__).parents[2] / "docs" / "reasons.md"


def test_every_code_is_documented_once_and_no_other() -> None:
    documented = re.findall(r"^\| `([a-z_]+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(Refusal)
