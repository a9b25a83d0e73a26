"""OCSP answers: every link from the question to the signer (RFC 6960 §3.2)."""

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.pki.ocsp import OCSPError, OCSPQuestion, ask, read_answer
from mtls_as.rfc.rfc5280_certificate import parse_certificate
from tests.authority import DAY, HOUR, Authority, Identity, forge, key_usage, new_key
from tests.ocsp_responder import appoint, forge_answer

NOW = datetime.now(UTC)
CA = Authority.create("OCSP CA")
CLIENT = CA.issue("client")


def question_about(client: Identity = CLIENT, ca: Identity = CA) -> OCSPQuestion:
    return ask(parse_certificate(client.der), parse_certificate(ca.der), nonce=b"n" * 32)


QUESTION = question_about()
ANSWER = forge_answer(QUESTION.encoding, CLIENT, CA, CA)


def test_good() -> None:
    """By the CA itself."""
    answer = read_answer(QUESTION, ANSWER, at=NOW)
    assert (answer.is_revoked, answer.reason, answer.responder_serial_number) == (False, "", None)
    assert answer.shortcoming_at(NOW) is None
    assert "ended at" in (answer.shortcoming_at(NOW + 2 * DAY) or "")
    assert answer.shortcoming_at(NOW + 2 * DAY, grace=2 * DAY) is None


def test_revoked() -> None:
    """With its date and reason."""
    data = forge_answer(QUESTION.encoding, CLIENT, CA, CA, status=ocsp.OCSPCertStatus.REVOKED)
    answer = read_answer(QUESTION, data, at=NOW)
    assert (answer.is_revoked, answer.reason) == (True, "superseded")
    assert answer.revoked_at is not None


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "Ed25519"])
@pytest.mark.parametrize("by_name", [True, False])
def test_every_kind_of_signer(kind: str, by_name: bool) -> None:
    """The CA, or the responder that it appointed, named by its name or by its key."""
    ca = Authority.create("CA", private_key=new_key(kind))
    client = ca.issue("client")
    question = question_about(client, ca)
    responder = appoint(ca, private_key=new_key(kind))
    own = read_answer(question, forge_answer(question.encoding, client, ca, ca, by_name=by_name), at=NOW)
    assert own.responder_serial_number is None
    data = forge_answer(question.encoding, client, ca, responder, by_name=by_name, brings=(ca, responder))
    assert read_answer(question, data, at=NOW).responder_serial_number == responder.certificate.serial_number


def test_no_nonce_is_no_failure() -> None:
    """Responders that sign in advance cannot return one (RFC 9654 §2.1)."""
    assert read_answer(QUESTION, forge_answer(QUESTION.encoding, CLIENT, CA, CA, nonce=b""), at=NOW)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (forge_answer(QUESTION.encoding, CLIENT, CA, CA, nonce=b"m" * 32), "nonce"),
        (forge_answer(QUESTION.encoding, CLIENT, CA, CA, status=ocsp.OCSPCertStatus.UNKNOWN), "does not know"),
        (forge_answer(QUESTION.encoding, CLIENT, CA, CA, hash_algorithm=hashes.SHA256()), "another CA"),
        (forge_answer(QUESTION.encoding, CA.issue("other"), CA, CA), "another serial number"),
        (forge_answer(QUESTION.encoding, CLIENT, CA, CA, this_update=NOW - DAY, next_update=NOW - HOUR), "ended at"),
        (forge_answer(QUESTION.encoding, CLIENT, CA, CA, this_update=NOW + HOUR), "not valid before"),
        (forge_answer(QUESTION.encoding, CLIENT, CA, Authority.create("OCSP CA"), by_name=True), "not by the key"),
        (forge_answer(QUESTION.encoding, CLIENT, CA, appoint(CA)), "neither the CA"),
        (forge_answer(QUESTION.encoding, CLIENT, CA, CLIENT, brings=(CLIENT,)), "not for OCSP signing"),
        (ANSWER[:-4] + bytes(4), "not by the key"),
        (ANSWER[:-1], "structure"),
        (b"", "structure"),
        (
            ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED).public_bytes(
                Encoding.DER
            ),
            "UNAUTHORIZED",
        ),
        (bytes(100_000), "more than"),
    ],
)
def test_what_does_not_count(data: bytes, reason: str) -> None:
    """Any broken link is a failure."""
    with pytest.raises(OCSPError, match=reason):
        read_answer(QUESTION, data, at=NOW)


@pytest.mark.parametrize(
    ("responder", "reason"),
    [
        (appoint(Authority.create("OCSP CA")), "not one by the CA"),
        (appoint(Authority.create("Sub", parent=CA)), "not one by the CA"),
        (appoint(CA, not_before=NOW - DAY, not_after=NOW - HOUR), "not one by the CA"),
        (appoint(CA, usage=key_usage(key_encipherment=True)), "digitalSignature"),
        (appoint(CA, private_key=new_key("RSA-1024")), "weak key"),
    ],
)
def test_responders_that_were_not_appointed(responder: Identity, reason: str) -> None:
    """By that very CA, in one step, valid now, for this purpose (RFC 6960 §4.2.2.2)."""
    data = forge_answer(QUESTION.encoding, CLIENT, CA, responder, brings=(responder,))
    with pytest.raises(OCSPError, match=reason):
        read_answer(QUESTION, data, at=NOW)


def test_a_responder_certificate_with_a_weak_signature() -> None:
    """SHA-1 under the appointment."""
    from cryptography import x509

    responder = appoint(CA)
    weak = Identity(x509.load_der_x509_certificate(forge(responder, CA, sha1=True)), responder.private_key)
    data = forge_answer(QUESTION.encoding, CLIENT, CA, weak, brings=(weak,))
    with pytest.raises(OCSPError, match="sha1"):
        read_answer(QUESTION, data, at=NOW)


@given(st.integers(0, len(ANSWER) - 1), st.integers(0, 255), st.binary(max_size=40))
def test_hostile_octets_raise_one_error(position: int, octet: int, tail: bytes) -> None:
    """Whatever stands in the octets, only `OCSPError` escapes; and no change of an octet makes an answer count."""
    for data in (ANSWER[:position] + bytes([octet]) + ANSWER[position + 1 :], ANSWER[:position] + tail, tail):
        try:
            read_answer(QUESTION, data, at=NOW)
        except OCSPError:
            continue
        assert data == ANSWER
