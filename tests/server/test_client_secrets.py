"""Client secrets: how they are made, compared and replaced."""

import re

from mtls_as.server.client_secrets import MAX_SECRETS, StoredSecret, is_secret, make_secret, rotate


def test_a_secret_is_256_random_bits_and_only_its_digest_is_kept() -> None:
    """43 characters that need no encoding in a form or a header."""
    text, kept = make_secret(at=5.0, random=lambda count: b"\x01" * count)
    assert text == "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"
    assert (kept.created_at, kept.expires_at, len(kept.digest)) == (5.0, None, 32)
    texts = {make_secret(at=0.0)[0] for _ in range(50)}
    assert len(texts) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", each) for each in texts)


def test_only_a_valid_secret_is_one() -> None:
    text, kept = make_secret(at=0.0)
    other, _ = make_secret(at=0.0)
    assert is_secret(text, [kept], at=10.0)
    assert not is_secret(other, [kept], at=10.0)
    assert not is_secret("", [kept], at=10.0)
    assert not is_secret(text, [], at=10.0)
    ending = StoredSecret(digest=kept.digest, created_at=0.0, expires_at=10.0)
    assert is_secret(text, [ending], at=9.9)
    assert not is_secret(text, [ending], at=10.0)


def test_two_are_valid_during_a_rotation() -> None:
    """The old one for the overlap, the new one from the start."""
    old, kept_old = make_secret(at=0.0)
    new, kept_new = make_secret(at=100.0)
    both = rotate([kept_old], kept_new, at=100.0, overlap=50.0)
    assert [secret.expires_at for secret in both] == [150.0, None]
    assert is_secret(old, both, at=149.0)
    assert is_secret(new, both, at=149.0)
    assert not is_secret(old, both, at=150.0)


def test_an_overlap_of_nothing_ends_the_old_one_at_once() -> None:
    _, kept_old = make_secret(at=0.0)
    _, kept_new = make_secret(at=100.0)
    assert rotate([kept_old], kept_new, at=100.0, overlap=0.0) == (kept_new,)


def test_a_rotation_within_a_rotation_ends_the_oldest_and_lengthens_nothing() -> None:
    """At most two are valid, and one that ends soon does not get more time."""
    first, second, third = (make_secret(at=at)[1] for at in (0.0, 100.0, 110.0))
    two = rotate([first], second, at=100.0, overlap=50.0)
    three = rotate(two, third, at=110.0, overlap=50.0)
    assert len(three) == MAX_SECRETS
    assert [secret.digest for secret in three] == [second.digest, third.digest]
    ending = StoredSecret(digest=first.digest, created_at=0.0, expires_at=120.0)
    assert rotate([ending], third, at=110.0, overlap=50.0)[0].expires_at == 120.0
    assert rotate([ending], third, at=130.0, overlap=50.0) == (third,)


def test_the_digest_is_not_shown() -> None:
    """Neither in a representation of the secret nor elsewhere in a log."""
    _, kept = make_secret(at=0.0)
    assert repr(kept.digest) not in repr(kept)
