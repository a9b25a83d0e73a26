"""The lists of a domain: which one is used, which one waits, and which one never comes in."""

from datetime import UTC, datetime, timedelta

import pytest

from mtls_as.pki.authorities import authority_id
from mtls_as.pki.crl import parse_crl
from mtls_as.pki.revocation_lists import MAX_WAITING_LISTS, Finding, ListRefused, RevocationLists
from mtls_as.rfc.rfc5280_certificate import Certificate, parse_certificate
from tests.authority import DAY, HOUR, Authority, Identity, key_usage
from tests.revocation_lists import issue_crl

NOW = datetime.now(UTC)
CA = Authority.create("Lists CA")
NAMESAKE = Authority.create("Lists CA")
CLIENT = CA.issue("client")
SERIAL = CLIENT.certificate.serial_number


def read(identity: Identity) -> Certificate:
    return parse_certificate(identity.der)


def find(lists: RevocationLists, *, issuer: Identity = CA, client: Identity = CLIENT, at: datetime = NOW) -> Finding:
    certificate = read(issuer)
    return lists.find(read(client), certificate, authority_id(certificate), at=at)


def take(lists: RevocationLists, data: bytes, *, at: datetime = NOW, source: str = "a") -> bool:
    return lists.take(source, parse_crl(data), at=at)


def known() -> RevocationLists:
    lists = RevocationLists()
    lists.know([read(CA)])
    return lists


def test_a_list_by_an_anchor_counts_at_once() -> None:
    """It says who is revoked, and vouches for the others."""
    lists = known()
    assert take(lists, issue_crl(CA, [SERIAL]))
    found = find(lists)
    assert found.revocation is not None
    assert found.held is not None
    assert find(lists, client=CA.issue("other")).held is found.held


def test_the_same_list_again_is_no_news() -> None:
    """Sources are read again and again."""
    lists, data = known(), issue_crl(CA)
    assert take(lists, data)
    assert not take(lists, data)


def test_a_list_waits_until_its_ca_is_known() -> None:
    """Clients bring the intermediates: once one stands in a verified path, its list is proven and used."""
    lists = RevocationLists()
    assert take(lists, issue_crl(CA, [SERIAL]))
    assert [proven for _, proven in lists.all()] == [False]
    assert find(lists).revocation is not None
    assert [proven for _, proven in lists.all()] == [True]
    with pytest.raises(ListRefused, match="it is older"):
        take(lists, issue_crl(CA, number=0))


def test_a_waiting_list_by_a_namesake_is_not_used() -> None:
    """The same name, another key: before and after the true list came."""
    lists = RevocationLists()
    take(lists, issue_crl(NAMESAKE))
    for _ in range(2):
        assert find(lists).held is None
    take(lists, issue_crl(CA, [SERIAL]))
    assert find(lists).revocation is not None
    assert find(lists, issuer=NAMESAKE).revocation is None


def test_a_ca_that_may_not_sign_lists_proves_none() -> None:
    """keyUsage without cRLSign (RFC 5280 §4.2.1.3), also beside a certificate of the same CA that has it."""
    lists = known()
    unfit = Authority.create("Lists CA", private_key=CA.private_key, usage=key_usage(key_cert_sign=True))
    take(lists, issue_crl(CA))
    assert find(lists, issuer=unfit).held is None
    assert find(lists).held is not None


def test_older_lists_are_refused_while_the_good_one_holds() -> None:
    """By number and by date."""
    lists = known()
    take(lists, issue_crl(CA, [SERIAL], number=5))
    for data in (issue_crl(CA, number=4), issue_crl(CA, number=6, this_update=NOW - DAY)):
        with pytest.raises(ListRefused, match="it is older"):
            take(lists, data)
    assert find(lists).revocation is not None


def test_numbers_may_start_anew_once_the_list_has_ended() -> None:
    """A CA that was set up again; but a date that goes back stays a replay."""
    lists = known()
    take(lists, issue_crl(CA, [SERIAL], number=5, next_update=NOW + HOUR))
    later = NOW + 2 * HOUR
    with pytest.raises(ListRefused, match="it is older"):
        take(lists, issue_crl(CA, number=9, this_update=NOW - 2 * HOUR, next_update=NOW + DAY), at=later)
    assert take(lists, issue_crl(CA, number=1, this_update=NOW + HOUR, next_update=NOW + DAY), at=later)
    assert find(lists, at=later).revocation is None


def test_a_revocation_outlives_its_list() -> None:
    """An old list is no proof that somebody is good, and still one that somebody is not."""
    lists = known()
    take(lists, issue_crl(CA, [SERIAL], next_update=NOW + HOUR))
    later = NOW + DAY
    assert find(lists, at=later).revocation is not None
    other = find(lists, at=later, client=CA.issue("other"))
    assert (other.revocation, other.held) == (None, None)
    assert "ended at" in other.shortcoming


def test_a_delta_that_ended_still_revokes_and_no_longer_takes_back() -> None:
    """What revokes is kept, what frees must be current; a later complete list ends both."""
    from cryptography import x509

    held = CA.issue("held")
    serial = held.certificate.serial_number
    lists = known()
    take(lists, issue_crl(CA, [serial], number=7, next_update=NOW + 2 * DAY))
    removal = {serial: x509.ReasonFlags.remove_from_crl}
    take(lists, issue_crl(CA, [SERIAL, serial], number=8, delta_of=7, reasons=removal, next_update=NOW + HOUR))
    assert find(lists, client=held).revocation is None
    assert find(lists).revocation is not None
    later = NOW + DAY
    assert find(lists, client=held, at=later).revocation is not None
    assert find(lists, at=later).revocation is not None
    take(lists, issue_crl(CA, number=9, this_update=NOW, next_update=NOW + 2 * DAY), at=later)
    assert find(lists, client=held, at=later).revocation is None
    assert find(lists, at=later).revocation is None


def test_what_waits_is_bounded() -> None:
    """A flood of lists by nobody known drops the oldest of them."""
    lists = RevocationLists()
    for number in range(MAX_WAITING_LISTS + 5):
        take(lists, issue_crl(NAMESAKE, number=number, this_update=NOW - HOUR + timedelta(seconds=number)))
    waiting = [held.crl.number for held, _ in lists.all()]
    assert waiting == list(range(5, MAX_WAITING_LISTS + 5))
