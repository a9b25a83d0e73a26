"""The Postman collection in `docs/` is what `scripts/postman` would write now."""

import json
import re
import subprocess
import sys
from typing import Any

from mtls_as.http.admin_api.operations import ADMIN_OPERATIONS
from mtls_as.http.operations import MTLS_OPERATIONS
from tests.cli.workplace import ROOT

COLLECTION = ROOT / "docs" / "postman_collection.json"


def test_the_committed_collection_is_fresh() -> None:
    """If not, run scripts/postman. Two runs write the same."""
    command = [sys.executable, str(ROOT / "scripts" / "postman_collection.py"), "--stdout"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == COLLECTION.read_text(encoding="utf-8")


def test_it_holds_every_operation_and_no_secret() -> None:
    """Each as a request of its method; variables for tokens are empty."""
    collection: dict[str, Any] = json.loads(COLLECTION.read_text(encoding="utf-8"))
    requests = [item["request"] for folder in collection["item"] for item in folder["item"]]
    found = {(request["method"], "/" + "/".join(request["url"]["path"])) for request in requests}
    operations = [*MTLS_OPERATIONS, *ADMIN_OPERATIONS.values()]
    expected = {(o.method, re.sub(r"\{(\w+)\}", r":\1", o.path)) for o in operations}
    assert found == expected
    values = {variable["key"]: variable["value"] for variable in collection["variable"]}
    assert {name for name, value in values.items() if not value} == {
        "token",
        "initialAccessToken",
        "registrationAccessToken",
        "adminToken",
    }
