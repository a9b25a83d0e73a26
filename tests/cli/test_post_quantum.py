"""Certificates with ML-DSA keys on the command line."""

import json
import tomllib

from tests.authority import new_key, self_signed
from tests.cli.workplace import Workplace


def test_a_self_signed_certificate_is_explained_and_registered(workplace: Workplace) -> None:
    """The registration names the key's algorithm, without which it is no key (RFC 9964 §3)."""
    self_signed("pq", private_key=new_key("ML-DSA-65")).write(workplace.folder, "pq")
    said = workplace.run("cert", "explain", "pq.pem").stdout
    assert "ML-DSA-65 (192 bits of security)" in said
    (line,) = (line for line in said.splitlines() if line.strip().startswith("jwks = "))
    (key,) = tomllib.loads(line.strip())["jwks"]["keys"]
    assert (key["kty"], key["alg"]) == ("AKP", "ML-DSA-65")
    workplace.succeed("client", "add", "--client-id", "pq", "--certificate", "pq.pem", "--scope", "reports:read")
    assert "pq: accepted" in workplace.succeed("cert", "explain", "pq.pem", "--client", "pq")
    shown = json.loads(workplace.succeed("client", "show", "pq", "--json"))
    assert json.dumps(shown).count('"AKP"') == 1
