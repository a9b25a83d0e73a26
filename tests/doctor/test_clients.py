"""What the doctor finds at the client's own side, and in the token endpoint's answers."""

import shlex
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_as.rfc.rfc8705_mtls import x5t_s256
from tests.authority import Authority, dns, self_signed
from tests.doctor.scene import CLIENT_CA, REPORTS, Scene, diagnose

DAY = timedelta(days=1)


def test_a_registered_client_gets_a_token(place: Scene) -> None:
    """Bound to its certificate, signed by a published key, for some minutes, for the one resource."""
    found = diagnose(place.issuer, *place.client(), "--resource", place.resource())
    assert found.status == 0, found.failures()
    assert found["token.binding"]["seen"] == f"cnf.x5t#S256 is that of our certificate, {x5t_s256(REPORTS.der)}"
    assert found["token.audience"]["seen"] == place.resource()
    assert found["token.lifetime"]["seen"] in {"299 s", "300 s"}


def test_an_unregistered_certificate_comes_with_the_lines_that_register_it(place: Scene) -> None:
    """They are commands that the server takes, and the certificate's names and thumbprint stand beside them."""
    other = CLIENT_CA.issue("orders", san=[dns("orders.example")])
    found = diagnose(place.issuer, *place.client(other), "--scope", "reports:read")
    assert found.failures() == ["token/token"]
    assert "no such client for this certificate" in found["token"]["seen"]
    assert f"x5t#S256 {x5t_s256(other.der)}" in found["token"]["details"]
    lines = [shlex.split(line) for step in found["token"]["next"] for line in step["lines"]]
    added = "mtls-as client add --client-id reports --trust DOMAIN --san-dns orders.example --scope reports:read"
    assert added.split() in lines
    assert any(line[:3] == ["mtls-as", "cert", "explain"] for line in lines)


def test_a_self_signed_certificate_is_to_be_registered_itself(place: Scene) -> None:
    """RFC 8705 §2.2."""
    found = diagnose(place.issuer, *place.client(self_signed("partner"), "partner"))
    assert found["own.chain"]["seen"].startswith("it is self-signed")
    [line, *_] = [line for step in found["token"]["next"] for line in step["lines"]]
    assert line.startswith("mtls-as client add --client-id partner --certificate ")


def test_a_certificate_for_servers_alone(place: Scene) -> None:
    """Wrong extended key usage: said of the certificate, and as the likely cause of the refusal."""
    wrong = CLIENT_CA.issue(
        "reports", san=[dns("reports.example")], extended_key_usages=[ExtendedKeyUsageOID.SERVER_AUTH]
    )
    found = diagnose(place.issuer, *place.client(wrong))
    assert found.failures() == ["client/own.usage", "token/token"]
    assert "clientAuth" in found.steps("own.usage")
    assert 'extended_key_usage = "any"' in found.steps("own.usage")
    assert found["token"]["next"][0]["what"].startswith("The likely cause: the certificate is not for client auth")


def test_an_expired_client_certificate(place: Scene) -> None:
    """Whose CA renews it, and that nothing need be registered anew."""
    now = datetime.now(UTC)
    old = CLIENT_CA.issue("reports", san=[dns("reports.example")], not_before=now - 9 * DAY, not_after=now - DAY)
    found = diagnose(place.issuer, *place.client(old))
    assert found.failures() == ["client/own.validity", "token/token"]
    assert "Renew the certificate at its CA (CN=Client CA)" in found.steps("own.validity")
    assert "expired" in found["token"]["next"][0]["what"]


def test_a_certificate_of_another_ca_with_the_registered_name(place: Scene) -> None:
    stranger = Authority.create("Somebody's CA").issue("reports", san=[dns("reports.example")])
    found = diagnose(place.issuer, *place.client(stranger))
    assert found.failures() == ["token/token"]
    assert "issuer CN=Somebody's CA" in found["token"]["details"]


def test_a_certificate_that_ends_soon_is_a_warning(place: Scene) -> None:
    """Unless it never lives longer: whoever renews each day knows that."""
    now = datetime.now(UTC)
    soon = CLIENT_CA.issue("r", san=[dns("reports.example")], not_before=now - 80 * DAY, not_after=now + 5 * DAY)
    assert diagnose(place.issuer, *place.client(soon))["own.validity"]["status"] == "warning"
    short = CLIENT_CA.issue("r", san=[dns("reports.example")], not_before=now - DAY, not_after=now + DAY)
    assert diagnose(place.issuer, *place.client(short))["own.validity"]["status"] == "ok"


@pytest.mark.parametrize("what", ["another key", "encrypted", "no key", "missing", "no certificate"])
def test_files_that_cannot_be_used(place: Scene, what: str) -> None:
    """Each is named with what is wrong with it, and no connection is tried with it."""
    certificate, key = CLIENT_CA.issue("broken").write(place.folder / what.replace(" ", "-"), "client")
    match what:
        case "another key":
            key.write_text(CLIENT_CA.issue("x").key_pem)
        case "encrypted":
            encryption = BestAvailableEncryption(b"secret")
            key.write_bytes(REPORTS.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        case "no key":
            key.write_text("nonsense")
        case "missing":
            key.unlink()
        case _:
            certificate.write_text("nonsense")
    options = ["--client-id", "reports", "--cert", certificate, "--key", key, "--ca", place.ca]
    found = diagnose(place.issuer, *options)
    assert found.failures() == ["client/own.files"]
    assert str(certificate if what == "no certificate" else key) in found["own.files"]["seen"]
    assert found["token"]["seen"] == "the certificate cannot be used"
    assert found["metadata"]["status"] == "ok"


def test_a_chain_in_the_wrong_order(place: Scene) -> None:
    """The client's own first, then each issuer."""
    below = Authority.create("Lower CA", parent=Authority.create("Middle CA", parent=CLIENT_CA))
    identity = below.issue("reports", san=[dns("reports.example")])
    certificate, key = identity.write(place.folder / "order", "client")
    pem = certificate.read_text().split("-----END CERTIFICATE-----\n")
    certificate.write_text("-----END CERTIFICATE-----\n".join([pem[0], pem[2], pem[1], ""]))
    found = diagnose(place.issuer, "--client-id", "reports", "--cert", certificate, "--key", key, "--ca", place.ca)
    assert "client/own.chain" in found.failures()
    assert found["own.chain"]["seen"] == "certificate 2 did not issue certificate 1"


def test_a_scope_that_the_client_does_not_have(place: Scene) -> None:
    found = diagnose(place.issuer, *place.client(), "--scope", "reports:write")
    assert "invalid_scope" in found["token"]["seen"]
    assert "--scope" in found.steps("token")


def test_a_resource_that_the_server_does_not_know(place: Scene) -> None:
    """RFC 8707 §2: the setting that adds it."""
    found = diagnose(place.issuer, *place.client(), "--resource", "https://other.example")
    assert "invalid_target" in found["token"]["seen"]
    assert 'identifier = "https://other.example"' in found.steps("token")


def test_without_a_client_id_no_token_is_asked_for(place: Scene) -> None:
    found = diagnose(place.issuer, *place.client()[2:])
    assert found.status == 0
    assert found["token"]["seen"] == "the client's name is not known: give --client-id"
