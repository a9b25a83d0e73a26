"""Checks an access token against its issuer's keys, and against the connection or the proof that it came with."""

import ssl
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial

from mtls_as.remote.documents import DocumentFetcher, DocumentUnavailable
from mtls_as.rfc import rfc7519_jwt
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc3986_uri import is_https_url
from mtls_as.rfc.rfc6750_bearer import is_bearer_token
from mtls_as.rfc.rfc7468_pem import PEMError, certificate_der
from mtls_as.rfc.rfc7517_jwk import JWKSet
from mtls_as.rfc.rfc7519_jwt import (
    ALGORITHMS,
    MAX_TOKEN_LENGTH,
    SUPPORTED_ALGORITHMS,
    JWTError,
    UnknownKey,
    VerifiedJWT,
    has_three_segments,
)
from mtls_as.rfc.rfc7800_confirmation import Confirmation, DPoPBinding
from mtls_as.rfc.rfc8705_mtls import thumbprints_equal, x5t_s256
from mtls_as.rfc.rfc9068_at_jwt import ACCESS_TOKEN_TYPE, AccessTokenClaims, ClaimsError, TokenExpired, validate_claims
from mtls_as.rfc.rfc9449_dpop import ProofError, verify_proof
from mtls_as.rfc.rfc9701_jwt_introspection import TOKEN_INTROSPECTION_TYPE
from mtls_as.rfc.status_list import (
    MAX_LIST_TOKEN_LENGTH,
    STATUS_LIST_TYPE,
    StatusListError,
    StatusReference,
    parse_status_claim,
)
from mtls_as.verifier.cache import MAX_TOKENS, Accepted, TokenCache, accepted, token_digest
from mtls_as.verifier.dpop import DPoPRequest, ProofStore
from mtls_as.verifier.errors import (
    InsufficientScope,
    InvalidDPoPProof,
    InvalidToken,
    TokenRefusal,
    VerificationUnavailable,
)
from mtls_as.verifier.introspection import Introspection, Introspector
from mtls_as.verifier.keys import key_source
from mtls_as.verifier.status_lists import StatusLists
from mtls_as.verifier.token import VerifiedToken

__all__ = ["AccessTokenVerifier", "VerifiedToken"]


class AccessTokenVerifier:
    """Verifies the access tokens of one issuer for one resource server (RFC 9068 §4, RFC 8705 §3, RFC 9449 §7).

    `issuer` and `audience` are compared to the character. The issuer's keys are `jwks` (a JWK Set, parsed JSON or
    `JWKSet`), or come from `jwks_uri`, or, with neither, from the place that the issuer's metadata names. `leeway` is
    seconds of difference allowed between the clocks. Tokens that are bound to nothing are refused unless
    `require_binding` is false; one that is bound is always held to it. Tokens that are bound to DPoP keys are refused
    unless `dpop` is a place to note used proofs in, such as `ProofMemory()`. `ssl_context` is for fetching keys. Tokens
    with experimental signatures (RFC 9964) are refused unless `algorithms` names those.

    Tokens that are no JWTs are refused unless `introspection` says how to ask about them. A token with a status list
    (draft-ietf-oauth-status-list) is refused when the list says so, and while none can be had; `status_list_tolerance`
    is seconds for which an ended list still counts, and `check_status=False` looks at none. Lists are fetched from the
    origins of the issuer and of its keys, and of `status_list_origins`. Up to `cache_tokens` tokens are remembered.
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
        introspection: Introspection | None = None,
        check_status: bool = True,
        status_list_origins: Collection[str] = (),
        status_list_tolerance: float = 0.0,
        cache_tokens: int = MAX_TOKENS,
        ssl_context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not issuer or not audience:
            raise ValueError("issuer and audience must not be empty")
        if not algorithms or isinstance(algorithms, str) or not set(algorithms) <= set(SUPPORTED_ALGORITHMS):
            raise ValueError(f"algorithms are some of {', '.join(SUPPORTED_ALGORITHMS)}")
        if not leeway >= 0 or not status_list_tolerance >= 0:
            raise ValueError("leeway and status_list_tolerance are zero seconds or more")
        if isinstance(status_list_origins, str) or not all(map(is_https_url, status_list_origins)):
            raise ValueError("status_list_origins are https URLs")
        self._issuer = issuer
        self._audience = audience
        self._algorithms = frozenset(algorithms)
        self._leeway = leeway
        self._require_binding = require_binding
        self._proofs = dpop
        self._clock = clock
        self._tokens = TokenCache(max_tokens=cache_tokens)
        fetcher = DocumentFetcher(ssl_context=ssl_context)
        self._keys = key_source(issuer, jwks_uri, jwks, fetcher, clock)
        self._introspector = None
        if introspection is not None:
            self._introspector = Introspector(
                introspection,
                issuer=issuer,
                audience=audience,
                leeway=leeway,
                check_signature=partial(self._check_signature, TOKEN_INTROSPECTION_TYPE),
                fetcher=fetcher,
                clock=clock,
            )
        self._status_lists = None
        if check_status:
            self._status_lists = StatusLists(
                issuer=issuer,
                origins=lambda: (issuer, *self._keys.places, *status_list_origins),
                verify=partial(self._check_signature, STATUS_LIST_TYPE),
                fetcher=fetcher,
                clock=clock,
                leeway=leeway,
                tolerance=status_list_tolerance,
            )

    @property
    def accepts_dpop(self) -> bool:
        """Whether tokens that are bound to DPoP keys are good here."""
        return self._proofs is not None

    async def prepare(self) -> None:
        """Have the issuer's keys at hand, fetched if need be: before the first request, or to ask whether that works.

        Raises `VerificationUnavailable` as long as no key is known.
        """
        try:
            await self._keys.keys()
        except DocumentUnavailable as error:
            raise VerificationUnavailable(str(error)) from None

    async def verify(
        self,
        token: str,
        *,
        certificate: bytes | str | None,
        dpop: DPoPRequest | None = None,
        scopes: Iterable[str] = (),
    ) -> VerifiedToken:
        """Verify a token that came over a connection whose client proved to hold the key of `certificate`.

        (1) the token's shape, (2) its header, (3) the key that it names, (4) its signature, (5) its claims, or for a
        token that is no JWT what the issuer says of it, (6) whether it was revoked, (7) its binding to the certificate
        or to the key of the proof, (8) its scope. A token that was good before begins at (6). In the steady state this
        touches no network, except for what the issuer is to be asked about.

        `certificate` is the leaf of this very connection, DER or PEM, or None without one; it must come from the TLS
        layer, never from the client's words. Its path and validity do not matter here (RFC 8705 §6.2). `dpop` is there
        if and only if the token came by the scheme `DPoP`: a token is good by its own scheme alone (RFC 9449 §7.2).
        `scopes` must all be in the token.

        Raises `InvalidToken`, `InvalidDPoPProof`, `InsufficientScope`, and `VerificationUnavailable` as long as no key
        of the issuer is known, or it cannot be told whether the token was revoked. What the token's subject may do
        with the resource is still the caller's to decide.
        """
        digest = token_digest(token)
        found = self._tokens.find(digest, self._keys.known(), at=self._clock())
        if found is None:
            found = await self._accept(token, digest)  # (1) to (5)
        if found.status is not None and not self._is_known_valid(found.status):
            await self._require_valid(found.status)  # (6)
        if dpop is None:
            self._check_certificate(found.token.claims.confirmation, certificate)  # (7)
        else:
            await self._check_proof(token, found.token.claims.confirmation, dpop)
        _require_scopes(found.token, scopes)  # (8)
        return found.token

    def verify_cached(
        self, token: str, *, certificate: bytes | str | None, scopes: Iterable[str] = ()
    ) -> VerifiedToken | None:
        """`verify`, as far as memory alone can tell: without waiting for anything, and None where only `verify` knows.

        For callers that want to spare a coroutine, on the event loop of the others. Raises `InvalidToken` and
        `InsufficientScope` as `verify` does.
        """
        found = self._tokens.find(token_digest(token), self._keys.known(), at=self._clock())
        if found is None or (found.status is not None and not self._is_known_valid(found.status)):
            return None
        self._check_certificate(found.token.claims.confirmation, certificate)
        _require_scopes(found.token, scopes)
        return found.token

    def _is_known_valid(self, status: StatusReference) -> bool:
        return self._status_lists is not None and self._status_lists.is_known_valid(status)

    async def _require_valid(self, status: StatusReference) -> None:
        if self._status_lists is not None:
            await self._status_lists.require_valid(status)

    async def _accept(self, token: str, digest: bytes) -> Accepted:
        """Steps (1) to (5)."""
        introspector = self._introspector
        if introspector is not None and not has_three_segments(token):
            found = await self._ask(introspector, token, digest)
        else:
            keys = self._keys.known()
            try:
                found = await self._verify_jwt(token, digest) if keys is None else self._verify_by(keys, token)
            except UnknownKey:
                found = await self._verify_jwt(token, digest)
            if introspector is not None and introspector.jwts:
                found = await self._ask_about(introspector, token, digest, found)
        self._tokens.add(digest, found, length=len(token))
        return found

    async def _verify_jwt(self, token: str, digest: bytes) -> Accepted:
        """Steps (1) to (5) of a JWT, where keys may have to be fetched."""
        try:
            keys = await self._keys.keys()
            # Where a refresh of the keys was due, the token may be known all the same.
            found = self._tokens.find(digest, keys, at=self._clock())
            try:
                return found or self._verify_by(keys, token)
            except UnknownKey:
                # The issuer may have changed its keys; a flood of invented ones costs few fetches.
                return self._verify_by(await self._keys.refreshed(), token)
        except UnknownKey as error:
            raise InvalidToken(TokenRefusal.UNKNOWN_KEY, str(error)) from None
        except DocumentUnavailable as error:
            raise VerificationUnavailable(str(error)) from error

    def _verify_by(self, keys: JWKSet, token: str) -> Accepted:
        """Steps (1) to (5) with these keys. Raises `InvalidToken`, or `UnknownKey` if others may help."""
        try:
            verified = rfc7519_jwt.verify(token, keys, type=ACCESS_TOKEN_TYPE, algorithms=self._algorithms)
        except UnknownKey:
            raise
        except rfc7519_jwt.BadSignatureError as error:
            raise InvalidToken(TokenRefusal.BAD_SIGNATURE, str(error)) from None
        except JWTError as error:
            raise InvalidToken(TokenRefusal.MALFORMED, str(error)) from None
        claims = self._acceptable(verified)
        return accepted(claims, leeway=self._leeway, keys=keys, status=self._status_reference(claims))

    def _acceptable(self, verified: VerifiedJWT) -> AccessTokenClaims:
        """Step (5): issuer, audience, time, and all that RFC 9068 requires."""
        try:
            return validate_claims(
                verified.claims, issuer=self._issuer, audience=self._audience, at=self._clock(), leeway=self._leeway
            )
        except ClaimsError as error:
            reason = TokenRefusal.EXPIRED if isinstance(error, TokenExpired) else TokenRefusal.CLAIM_REFUSED
            raise InvalidToken(reason, str(error)) from None

    def _status_reference(self, claims: AccessTokenClaims) -> StatusReference | None:
        """Where the issuer says whether it has revoked the token, if it says so and that matters here."""
        if self._status_lists is None or "status" not in claims.other:
            return None
        try:
            return parse_status_claim(claims.other["status"])
        except StatusListError as error:
            raise InvalidToken(TokenRefusal.CLAIM_REFUSED, f"status: {error}") from None

    async def _ask(self, introspector: Introspector, token: str, digest: bytes) -> Accepted:
        """What the issuer says of a token that is no JWT."""
        if not is_bearer_token(token) or len(token) > MAX_TOKEN_LENGTH:
            raise InvalidToken(
                TokenRefusal.MALFORMED, f"the token ({len(token)} characters) has characters of no token"
            )
        claims, until = await introspector.verdict(token, digest)
        return accepted(claims, leeway=self._leeway, keys=None, until=until)

    async def _ask_about(self, introspector: Introspector, token: str, digest: bytes, found: Accepted) -> Accepted:
        """A JWT that is good by itself, and by what the issuer says now."""
        claims, until = await introspector.verdict(token, digest)
        known = found.token.claims
        if (claims.client_id, claims.confirmation, claims.jwt_id or known.jwt_id) != (
            known.client_id,
            known.confirmation,
            known.jwt_id,
        ):
            raise InvalidToken(TokenRefusal.CLAIM_REFUSED, "introspection speaks of another token")
        return found._replace(ends=min(found.ends, until))

    async def _check_signature(self, kind: str, token: str) -> VerifiedJWT:
        """What else the issuer signs: lists and answers. Raises `JWTError` or `DocumentUnavailable`."""
        verify = partial(
            rfc7519_jwt.verify, token, type=kind, algorithms=self._algorithms, max_length=MAX_LIST_TOKEN_LENGTH
        )
        try:
            return verify(keys=await self._keys.keys())
        except UnknownKey:
            return verify(keys=await self._keys.refreshed())

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


def _require_scopes(token: VerifiedToken, scopes: Iterable[str]) -> None:
    required, granted = tuple(scopes), token.claims.scope
    for scope in required:
        if scope not in granted:
            raise InsufficientScope(required)
