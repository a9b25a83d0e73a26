"""How long a node issues tokens without its storage, and what it says of that."""

import logging

import pytest

from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.server.storage_contact import CURRENT_SECONDS, StorageContact


class Monotonic:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Monotonic:
    return Monotonic()


@pytest.fixture
def contact(clock: Monotonic) -> StorageContact:
    contact = StorageContact(monotonic=clock)
    contact.tolerated_outage = 60.0
    return contact


def refuses(contact: StorageContact) -> bool:
    try:
        contact.require()
    except OAuthError as error:
        return error.code is ErrorCode.TEMPORARILY_UNAVAILABLE
    return False


def test_before_the_storage_was_heard_nothing_is_issued(contact: StorageContact) -> None:
    assert refuses(contact)


@pytest.mark.parametrize(
    ("tolerated", "after", "refused"),
    [
        (60.0, 59.9, False),
        (60.0, 60.0, True),
        (0.0, CURRENT_SECONDS - 0.1, False),
        (0.0, CURRENT_SECONDS, True),
        (1.0, CURRENT_SECONDS - 0.1, False),
    ],
)
def test_an_outage_is_tolerated_for_so_long(clock: Monotonic, tolerated: float, after: float, refused: bool) -> None:
    """From the time at which the storage was asked the last question that it answered. Memory is current anyhow."""
    contact = StorageContact(monotonic=clock)
    contact.tolerated_outage = tolerated
    contact.heard(clock.now)
    clock.now += after
    contact.missed("it is away")
    assert refuses(contact) is refused


def test_silence_counts_even_if_nobody_was_told_of_a_failure(contact: StorageContact, clock: Monotonic) -> None:
    """As when what asks the storage has died."""
    contact.heard(clock.now)
    clock.now += 61
    assert refuses(contact)


def test_an_answer_ends_the_outage(contact: StorageContact, clock: Monotonic) -> None:
    contact.heard(clock.now)
    clock.now += 61
    contact.missed("it is away")
    assert contact.silence == 61
    contact.heard(clock.now)
    assert not refuses(contact)
    assert (contact.problem, contact.silence) == (None, 0.0)


def test_each_outage_is_told_once_at_its_begin_and_at_its_end(
    contact: StorageContact, clock: Monotonic, caplog: pytest.LogCaptureFixture
) -> None:
    """And once when it has lasted too long, however often the storage was asked."""
    contact.heard(clock.now)
    with caplog.at_level(logging.INFO):
        for _ in range(100):
            clock.now += 1
            contact.missed("it is away")
        contact.heard(clock.now)
        contact.heard(clock.now)
    assert [record.getMessage() for record in caplog.records] == [
        "the storage does not answer: clients that are known here get tokens for another 59 s: it is away",
        "the storage does not answer for 60 s: no more tokens are issued",
        "the storage answers again, after 100 s",
    ]
