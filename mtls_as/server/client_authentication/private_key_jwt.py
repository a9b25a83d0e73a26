"""`private_key_jwt` (RFC 7523 §2.2): an assertion signed with one of the client's registered keys, good for once."""

from collections.abc import Mapping
from typing import Final

from mtls_as.remote.documents import DocumentUnavailable
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc7517_jwk import JWKSet
from mtls_as.rfc.rfc7523_assertion import (
    CLIENT_ASSERTION_TYPE,
    ClientAssertionError,
    validate_claims,
    verify_signature,
)
from mtls_as.rfc.rfc7591_client_metadata import PRIVATE_KEY_JWT, JWKSUri, PrivateKeyJwt
from mtls_as.server.client_authentication.credentials import ClientAssertion, Credential, wrong_method
from mtls_as.server.ports import RemoteKeySets, ReplayStore, StorageUnavailable

CLOCK_DIFFERENCE: Final = 300.0
"""Seconds that the clocks of nodes may differ. A use is remembered for so much longer than the assertion lives: no node
may forget what another would still let in."""


async def verify_client_assertion(
    authentication: PrivateKeyJwt,
    credential: Credential | None,
    *,
    client_id: str,
    issuer: str,
    remote_key_sets: RemoteKeySets,
    replays: ReplayStore,
    at: float,
) -> None:
    """Let an assertion in, once.

    (1) It is a JWT that (2) one of the client's keys signed, and no other's; (3) its claims are those of this client,
    for this server, now; (4) no node has ever seen its `jti` from this client. Only what passed the first three is
    remembered, so nobody else can use a client's `jti` up, or the storage.

    Raises `OAuthError`: `invalid_client`, or `temporarily_unavailable` when (4) cannot be told.
    """
    text = _assertion(credential)  # (1)
    try:
        claims = await _verify(text, authentication.keys, remote_key_sets)  # (2)
        found = validate_claims(claims, client_id=client_id, audience=issuer, at=at)  # (3)
    except ClientAssertionError as error:
        raise _refused(error.refusal, str(error)) from None
    except DocumentUnavailable as error:
        raise _refused(Refusal.REGISTERED_KEYS_UNAVAILABLE, str(error)) from None
    try:
        is_first = await replays.use(_use(client_id, found.jwt_id), found.expires_at + CLOCK_DIFFERENCE)  # (4)
    except StorageUnavailable as error:
        raise OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, str(error)) from None
    if not is_first:
        raise _refused(Refusal.ASSERTION_REPLAYED, "an assertion with this jti was used before")


def _assertion(credential: Credential | None) -> str:
    if not isinstance(credential, ClientAssertion) or credential.text is None:
        raise wrong_method("the client authenticates with an assertion, and there is no client_assertion")
    if credential.type != CLIENT_ASSERTION_TYPE:
        raise wrong_method(f"the client_assertion_type of {PRIVATE_KEY_JWT} is {CLIENT_ASSERTION_TYPE}")
    return credential.text


async def _verify(text: str, keys: JWKSet | JWKSUri, remote_key_sets: RemoteKeySets) -> Mapping[str, object]:
    if isinstance(keys, JWKSet):
        return verify_signature(text, keys)
    published = remote_key_sets.at(keys.url)
    try:
        return verify_signature(text, await published.keys())
    except ClientAssertionError as error:
        if error.refusal is not Refusal.ASSERTION_KEY_UNKNOWN:
            raise
    # A miss may be a roll-over: one refresh, which the key set itself limits.
    return verify_signature(text, await published.refreshed())


def _use(client_id: str, jwt_id: str) -> str:
    """What is used: a client has no space in its name, so no two clients share one."""
    return f"{PRIVATE_KEY_JWT} {client_id} {jwt_id}"


def _refused(refusal: Refusal, detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_CLIENT, refusal, detail)
