"""Checks an access token against its issuer's keys, and against the connection or the proof that it came with."""

import ssl
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from mtls_as.remote.documents import DocumentFetcher, DocumentUnavailable
from mtls_as.remote.key_sets import DiscoveredKeySet, RemoteKeySet
from mtls_as.rfc import rfc7519_jwt
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc3986_uri import is_https_url
from mtls_as.rfc.rfc7468_pem import PEMError, certificate_der
from mtls_as.rfc.rfc7517_jwk import JWKSet, parse_jwks
from mtls_as.rfc.rfc7519_jwt import ALGORITHMS, SUPPORTED_ALGORITHMS, JWTError, UnknownKey, VerifiedJWT
from mtls_as.rfc.rfc7800_confirmation import CertificateBinding, Confirmation, DPoPBinding
from mtls_as.rfc.rfc8705_mtls import thumbprints_equal, x5t_s256
from mtls_as.rfc.rfc9068_at_jwt import ACCESS_TOKEN_TYPE, AccessTokenClaims, ClaimsError, TokenExpired, validate_claims
from mtls_as.rfc.rfc9449_dpop import ProofError, verify_proof
from mtls_as.verifier.claims import Chain, Details, actors_of, details_of
from mtls_as.verifier.dpop import DPoPRequest, ProofStore
from mtls_as.verifier.errors import (
    InsufficientScope,
    InvalidDPoPProof,
    InvalidToken,
    TokenRefusal,
    VerificationUnavailable,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """An access token that was verified for one request. Made by `AccessTokenVerifier.verify` alone."""

    claims: AccessTokenClaims

    @property
    def client_id(self) -> str:
        """The client that the token was issued to."""
        return self.claims.client_id

    @property
    def subject(self) -> str:
        """Whom the token speaks for; with the client credentials grant this is the client itself."""
        return self.claims.subject

    @property
    def scope(self) -> tuple[str, ...]:
        """What the token allows."""
        return self.claims.scope

    @property
    def expires_at(self) -> float:
        """Epoch seconds."""
        return self.claims.expires_at

    @property
    def thumbprint(self) -> str | None:
        """The thumbprint of the connection's certificate (`x5t#S256`), or None for a token that goes without one."""
        confirmation = self.claims.confirmation
        return confirmation.thumbprint if isinstance(confirmation, CertificateBinding) else None

    @property
    def dpop_thumbprint(self) -> str | None:
        """The thumbprint of the key that the request's DPoP proof is by (`jkt`), or None without one."""
        confirmation = self.claims.confirmation
        return confirmation.thumbprint if isinstance(confirmation, DPoPBinding) else None

    @property
    def actors(self) -> Chain:
        """Who acts for the subject: first who acts now; empty if the subject does (RFC 8693 §4.1)."""
        return actors_of(self.claims)

    @property
    def authorization_details(self) -> Details:
        """What exactly was authorized beside the scope (RFC 9396 §9.1)."""
        return details_of(self.claims)


class KeySource(Protocol):
    """Where the issuer's keys come from. Both raise `DocumentUnavailable` as long as there are none."""

    async def keys(self) -> JWKSet: ...

    async def refreshed(self) -> JWKSet: ...


class AccessTokenVerifier:
    """Verifies the access tokens of one issuer for one resource server (RFC 9068 §4, RFC 8705 §3, RFC 9449 §7).

    `issuer` and `audience` are compared to the character. The issuer's keys are `jwks` (a JWK Set, parsed JSON or
    `JWKSet`), or come from `jwks_uri`, or, with neither, from the place that the issuer's metadata names. `leeway` is
    seconds of difference allowed between the clocks. Tokens that are bound to nothing are refused unless
    `require_binding` is false; one that is bound is always held to it. Tokens that are bound to DPoP keys are refused
    unless `dpop` is a place to note used proofs in, such as `ProofMemory()`. `ssl_context` is for fetching keys. Tokens
    with experimental signatures (RFC 9964) are refused unless `algorithms` names those.
    Raises `ValueError` (`JWKError`, `MetadataError`) for settings that cannot work.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        jwks_uri: str | None = None,
        jwks: JWKSet | Mapping[str, object] | None = None,
        algorithms: Collection[str] = ALGORITHMS,
        leeway: float = 10.0,
        require_binding: bool = True,
        dpop: ProofStore | None = None,
        ssl_context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not issuer or not audience:
            raise ValueError("issuer and audience must not be empty")
        if not algorithms or isinstance(algorithms, str) or not set(algorithms) <= set(SUPPORTED_ALGORITHMS):
            raise ValueError(f"algorithms are some of {', '.join(SUPPORTED_ALGORITHMS)}")
        if not leeway >= 0:
            raise ValueError("leeway is zero seconds or more")
        self._issuer = issuer
        self._audience = audience
        self._algorithms = frozenset(algorithms)
        self._leeway = leeway
        self._require_binding = require_binding
        self._proofs = dpop
        self._clock = clock
        self._keys = _key_source(issuer, jwks_uri, jwks, ssl_context, clock)

    @property
    def accepts_dpop(self) -> bool:
        """Whether tokens that are bound to DPoP keys are good here."""
        return self._proofs is not None

    async def verify(
        self,
        token: str,
        *,
        certificate: bytes | str | None,
        dpop: DPoPRequest | None = None,
        scopes: Iterable[str] = (),
    ) -> VerifiedToken:
        """Verify a token that came over a connection whose client proved to hold the key of `certificate`.

        (1) the token's shape, (2) its header, (3) the key that it names, (4) its signature, (5) its claims, (6) its
        binding to the certificate or to the key of the proof, (7) its scope. In the steady state this touches no
        network.

        `certificate` is the leaf of this very connection, DER or PEM, or None without one; it must come from the TLS
        layer, never from the client's words. Its path and validity do not matter here (RFC 8705 §6.2). `dpop` is there
        if and only if the token came by the scheme `DPoP`: a token is good by its own scheme alone (RFC 9449 §7.2).
        `scopes` must all be in the token.

        Raises `InvalidToken`, `InvalidDPoPProof`, `InsufficientScope`, and `VerificationUnavailable` as long as no key
        of the issuer is known. What the token's subject may do with the resource is still the caller's to decide.
        """
        # (1) to (4)
        verified = await self._verify_signature(token)

        # (5) issuer, audience, time, and all that RFC 9068 requires
        try:
            claims = validate_claims(
                verified.claims,
                issuer=self._issuer,
                audience=self._audience,
                at=self._clock(),
                leeway=self._leeway,
            )
        except ClaimsError as error:
            reason = TokenRefusal.EXPIRED if isinstance(error, TokenExpired) else TokenRefusal.CLAIM_REFUSED
            raise InvalidToken(reason, str(error)) from None

        # (6) the certificate, or the proof
        if dpop is None:
            self._check_certificate(claims.confirmation, certificate)
        else:
            await self._check_proof(token, claims.confirmation, dpop)

        # (7) the scope
        required = tuple(scopes)
        if not set(required).issubset(claims.scope):
            raise InsufficientScope(required)
        return VerifiedToken(claims=claims)

    async def _verify_signature(self, token: str) -> VerifiedJWT:
        try:
            try:
                return self._verify_jwt(token, await self._keys.keys())
            except UnknownKey:
                # The issuer may have changed its keys; a flood of invented ones costs one fetch per cool-down.
                return self._verify_jwt(token, await self._keys.refreshed())
        except UnknownKey as error:
            raise InvalidToken(TokenRefusal.UNKNOWN_KEY, str(error)) from None
        except rfc7519_jwt.BadSignatureError as error:
            raise InvalidToken(TokenRefusal.BAD_SIGNATURE, str(error)) from None
        except JWTError as error:
            raise InvalidToken(TokenRefusal.MALFORMED, str(error)) from None
        except DocumentUnavailable as error:
            raise VerificationUnavailable(str(error)) from error

    def _verify_jwt(self, token: str, keys: JWKSet) -> VerifiedJWT:
        return rfc7519_jwt.verify(token, keys, type=ACCESS_TOKEN_TYPE, algorithms=self._algorithms)

    async def _check_proof(self, token: str, expected: Confirmation | None, request: DPoPRequest) -> None:
        """RFC 9449 §4.3 and §7.1: the proof is for this request and this token, by its key, and never used before."""
        if self._proofs is None or not isinstance(expected, DPoPBinding):
            raise InvalidToken(
                TokenRefusal.WRONG_SCHEME, "the token is not bound to a DPoP key, or these are not accepted"
            )
        try:
            proof = verify_proof(
                request.proof, method=request.method, url=request.url, at=self._clock(), access_token=token
            )
        except ProofError as error:
            raise InvalidDPoPProof(error.refusal, str(error)) from None
        if not thumbprints_equal(expected.thumbprint, proof.thumbprint):
            detail = f"the token is bound to {expected.thumbprint}, the proof is by {proof.thumbprint}"
            raise InvalidDPoPProof(Refusal.DPOP_PROOF_UNTRUSTED, detail)
        if not await self._proofs.use(proof.use, proof.ends_at):
            raise InvalidDPoPProof(Refusal.DPOP_PROOF_REPLAYED, "a proof with this key and jti was used before")

    def _check_certificate(self, expected: Confirmation | None, certificate: bytes | str | None) -> None:
        if expected is None:
            if self._require_binding:
                raise InvalidToken(TokenRefusal.NOT_BOUND, "the token has no cnf, and binding is required")
            return
        if isinstance(expected, DPoPBinding):
            detail = "the token is bound to a DPoP key, and came without a proof or where none is accepted"
            raise InvalidToken(TokenRefusal.WRONG_SCHEME, detail)
        if not certificate:
            raise InvalidToken(TokenRefusal.NO_CERTIFICATE, "the token is bound, and there is no certificate")
        try:
            presented = x5t_s256(certificate_der(certificate))
        except PEMError as error:
            raise InvalidToken(TokenRefusal.NO_CERTIFICATE, str(error)) from None
        if not thumbprints_equal(expected.thumbprint, presented):
            detail = f"the token is bound to {expected.thumbprint}, the connection's certificate is {presented}"
            raise InvalidToken(TokenRefusal.OTHER_CERTIFICATE, detail)


class _StaticKeys:
    """Keys from the configuration: there are no others."""

    def __init__(self, keys: JWKSet) -> None:
        self._keys = keys

    async def keys(self) -> JWKSet:
        return self._keys

    async def refreshed(self) -> JWKSet:
        return self._keys


def _key_source(
    issuer: str,
    jwks_uri: str | None,
    jwks: JWKSet | Mapping[str, object] | None,
    ssl_context: ssl.SSLContext | None,
    clock: Callable[[], float],
) -> KeySource:
    if jwks is not None:
        if jwks_uri is not None:
            raise ValueError("jwks and jwks_uri exclude each other")
        keys = jwks if isinstance(jwks, JWKSet) else parse_jwks(dict(jwks))
        if not keys.keys:
            raise ValueError("jwks holds no usable key")
        return _StaticKeys(keys)
    fetcher = DocumentFetcher(ssl_context=ssl_context)
    if jwks_uri is None:
        return DiscoveredKeySet(issuer, fetcher, clock=clock)
    if not is_https_url(jwks_uri):
        raise ValueError("jwks_uri is not an https URL")
    return RemoteKeySet(jwks_uri, fetcher, clock=clock)
