"""A token as the client gets it, and what may be known of it elsewhere. The token itself stays with whoever called."""

import time
from dataclasses import replace
from pathlib import Path

from mtls_as.client import AuthorizationServerError, ClientError, TokenRequestError
from mtls_as.client.credentials import read_credentials
from mtls_as.client.exchange import TokenRequest, fetch_from
from mtls_as.doctor.observations import Document, OwnCertificate, TokenObservation
from mtls_as.rfc.rfc7517_jwk import JWKError, parse_jwks
from mtls_as.rfc.rfc7519_jwt import SUPPORTED_ALGORITHMS, JWTError, has_three_segments, unverified_claims, verify

_TYPES = ("at+jwt", "jwt", None)  # resource servers of other kinds take the latter two


async def ask_for_token(
    own: OwnCertificate,
    *,
    issuer: str,
    endpoint: str,
    client_id: str,
    scope: str | None,
    resource: str | None,
    ca: str | None,
    jwks: Document | None,
    seconds: float,
) -> tuple[str | None, TokenObservation]:
    """A token of the endpoint, got as the client of this package does it, and what is seen of it.

    The endpoint is the one that was looked at: a server that names another when asked again is not followed there.
    """
    seen = TokenObservation(client_id=client_id, endpoint=endpoint, requested_scope=scope, requested_resource=resource)
    try:
        credentials = read_credentials(Path(own.certificate_file), Path(own.key_file), None if ca is None else Path(ca))
        wanted = TokenRequest(issuer=issuer, client_id=client_id, scope=scope, resource=resource)
        token = await fetch_from(endpoint, wanted, credentials.tls_context(), at=time.time(), seconds=seconds)
    except TokenRequestError as error:
        return None, replace(seen, error=error.code, error_description=error.description)
    except (AuthorizationServerError, ClientError) as error:
        return None, replace(seen, failure=str(error))
    claims, failure = _read(token.value, jwks)
    return token.value, replace(
        seen,
        lifetime=token.expires_at - time.time(),
        scope=token.scope,
        is_jwt=has_three_segments(token.value),
        claims=claims,
        signature_failure=failure,
    )


def _read(token: str, jwks: Document | None) -> tuple[dict[str, object] | None, str | None]:
    """The claims of a JWT, and why they are not proven."""
    if not has_three_segments(token):
        return None, None
    try:
        claims = dict(unverified_claims(token))
    except JWTError as error:
        return None, str(error)
    if jwks is None or jwks.failure is not None:
        return claims, "the issuer's keys are not known"
    try:
        verify(token, parse_jwks(jwks.content), type=_TYPES, algorithms=SUPPORTED_ALGORITHMS)
    except (JWTError, JWKError) as error:
        return claims, str(error)
    return claims, None
