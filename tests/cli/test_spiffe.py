"""SPIFFE on the command line: registering workloads, and asking who an X.509-SVID is."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.authority import uri
from tests.cli.workplace import Workplace
from tests.workloads import TrustDomain

ID = "spiffe://td.example/reports"


@pytest.fixture
def domain(workplace: Workplace) -> TrustDomain:
    """A trust domain that the workplace's configuration knows."""
    domain = TrustDomain("td.example")
    file = domain.write(workplace.folder)
    workplace.edit("[server]\n", f'[spiffe."td.example"]\nbundle = "{file}"\n\n[server]\n')
    return domain


def add(workplace: Workplace, *options: str, client_id: str = "new") -> str:
    return workplace.succeed("client", "add", "--client-id", client_id, "--scope", "reports:read", *options)


@pytest.mark.parametrize(("options", "method"), [((), "spiffe_x509"), (("--spiffe-jwt",), "spiffe_jwt")])
def test_workloads_are_registered(
    workplace: Workplace, domain: TrustDomain, options: tuple[str, ...], method: str
) -> None:
    add(workplace, "--spiffe-id", f"{ID}/*", *options)
    shown = json.loads(workplace.succeed("client", "show", "new", "--json"))
    assert (shown["token_endpoint_auth_method"], shown["spiffe_id"]) == (method, f"{ID}/*")
    assert "trust" not in shown
    assert f"new\t{method}\t{ID}/*\t-\t" in workplace.succeed("client", "list")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--spiffe-id", "spiffe://td.example"), "spiffe_id: it has no path"),
        (("--spiffe-id", "spiffe://td.exampel/a"), 'did you mean "td.example"?'),
        (("--spiffe-id", ID, "--trust", "default"), "trust: must not be given"),
        (("--spiffe-id", ID, "--san-dns", "a.example", "--trust", "default"), "belongs to spiffe_x509"),
    ],
)
def test_what_cannot_be_registered(
    workplace: Workplace, domain: TrustDomain, options: tuple[str, ...], message: str
) -> None:
    assert message in workplace.fail("client", "add", "--client-id", "new", *options)


def test_spiffe_jwt_needs_an_id(workplace: Workplace) -> None:
    assert "--spiffe-id" in workplace.fail("client", "add", "--client-id", "new", "--spiffe-jwt", status=2)


def explain(workplace: Workplace, folder: Path, identity: Any, *options: str) -> dict[str, Any]:
    file, _ = identity.write(folder, "svid")
    explained: dict[str, Any] = json.loads(workplace.succeed("cert", "explain", str(file), *options, "--json"))
    return explained


def verdicts(workplace: Workplace, folder: Path, identity: Any) -> dict[str, Any]:
    return {each["client_id"]: each["reason"] for each in explain(workplace, folder, identity)["clients"]}


def test_a_workload_is_recognised(workplace: Workplace, domain: TrustDomain, tmp_path: Path) -> None:
    """The verdict is the server's own, with the bundle in the file."""
    add(workplace, "--spiffe-id", ID, client_id="exact")
    add(workplace, "--spiffe-id", "spiffe://td.example/jobs/*", client_id="jobs")
    add(workplace, "--spiffe-id", ID, "--spiffe-jwt", client_id="jwt")
    found = verdicts(workplace, tmp_path, domain.svid("/reports"))
    assert found["exact"] is None
    assert found["jobs"] == "subject_mismatch"
    assert found["jwt"] == "wrong_authentication_method"
    assert verdicts(workplace, tmp_path, domain.svid("/jobs/1"))["jobs"] is None
    forged = TrustDomain("td.example").svid("/reports")
    assert verdicts(workplace, tmp_path, forged)["exact"] == "untrusted_issuer"


def test_an_svid_is_explained_with_the_lines_that_register_it(
    workplace: Workplace, domain: TrustDomain, tmp_path: Path
) -> None:
    file, _ = domain.svid("/reports").write(tmp_path, "svid")
    printed = workplace.succeed("cert", "explain", str(file))
    assert f"SPIFFE ID           {ID}" in printed
    assert f'  token_endpoint_auth_method = "spiffe_x509"\n  spiffe_id = "{ID}"' in printed


def test_what_keeps_a_certificate_from_being_one_is_told(
    workplace: Workplace, domain: TrustDomain, tmp_path: Path
) -> None:
    two = domain.authority.issue_svid(ID, "spiffe://td.example/b")
    assert explain(workplace, tmp_path, two)["spiffe"] == {"problem": "it has 2 URIs, and an SVID has exactly one"}
    other = domain.authority.issue(san=[uri("https://a.example/")])
    assert explain(workplace, tmp_path, other)["spiffe"] is None


def test_a_bad_bundle_is_one_line(workplace: Workplace, domain: TrustDomain) -> None:
    """`check-config` names the trust domain and the file, as `serve` would."""
    workplace.write("td.example.bundle.json", "{")
    line = workplace.fail("check-config")
    assert "SPIFFE trust domain 'td.example'" in line
    assert "td.example.bundle.json" in line
