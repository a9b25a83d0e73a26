"""openid-client, the library that most Node programs use, on top of oauth4webapi."""

import pytest

from tests.interop.javascript import Node
from tests.interop.site import Site


@pytest.mark.parametrize("party", ["c1", "own"])
def test_a_token_from_its_beginning_to_its_end(node: Node, site: Site, party: str) -> None:
    """Discovery, the grant, the token's use with the right and another certificate, introspection, revocation."""
    task = {"folder": str(site.folder), "issuer": site.issuer, "resource": site.resource, "party": party}
    found = node.run("openid-client.mjs", task)
    assert found["answer"]["scope"] == "reports:read"
    assert {name: use["status"] for name, use in found["uses"].items()} == {"right": 200, "other": 401}
    assert found["uses"]["right"]["body"]["certificate"] == site.thumbprint(party)
    assert (found["before"]["active"], found["before"]["cnf"]) == (True, {"x5t#S256": site.thumbprint(party)})
    assert found["after"] == {"active": False}
