"""The one place that decides about a request to a protected resource; every adapter asks here, whatever its framework.

An adapter describes the request (`ResourceRequest`), and passes on what comes back: the token, for the application, or
an answer.
"""

import json
import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Final, Protocol

from mtls_as.rfc.rfc3986_uri import is_https_url
from mtls_as.rfc.rfc6750_bearer import BEARER, BearerError, MalformedBearerRequest, bearer_token, challenge
from mtls_as.rfc.rfc9449_dpop import ALGORITHMS, HEADER, ProofError, single_proof
from mtls_as.rfc.rfc9449_dpop import TOKEN_TYPE as DPOP
from mtls_as.rfc.rfc9728_resource_metadata import ResourceMetadata
from mtls_as.verifier.certificates import CertificateRefused, CertificateSource
from mtls_as.verifier.claims import InsufficientAuthorization, check_requirements
from mtls_as.verifier.dpop import DPoPRequest
from mtls_as.verifier.errors import InsufficientScope, InvalidDPoPProof, InvalidToken, VerificationUnavailable
from mtls_as.verifier.request import Answer, Refusal, ResourceRequest
from mtls_as.verifier.verifier import VerifiedToken

_PROOF_HEADER: Final = HEADER.lower().encode("ascii")
_READING: Final = frozenset({"GET", "HEAD"})

_log = logging.getLogger(__name__)


class TokenVerifier(Protocol):
    """What verifies tokens: `AccessTokenVerifier`, or another with its methods."""

    @property
    def accepts_dpop(self) -> bool: ...

    async def verify(
        self,
        token: str,
        *,
        certificate: bytes | str | None,
        dpop: DPoPRequest | None = None,
        scopes: Iterable[str] = (),
    ) -> VerifiedToken: ...


class ResourceGuard:
    """Lets a request through only with a valid access token that its sender proves to be bound to.

    `certificates` is the one place where the client's certificate is found. The token must hold all of `scopes`, at
    least one authorization detail of each type in `authorization_details` (RFC 9396), and be used by one of `actors`
    (RFC 8693 §4.1): None asks nothing, an empty collection wants no delegation. Others are answered as RFC 6750 §3
    says: 401 without a token or with an invalid one, 403 for a missing scope, 400 for a malformed request; 503 while no
    token can be verified.

    With a verifier that accepts DPoP, tokens come by the scheme `DPoP` too (RFC 9449 §7.1). It needs `dpop_url`: what
    stands before the path in every URL, as clients know it (`https://api.example`); no header is ever read for that.
    With `metadata` its document is published (RFC 9728), and every challenge says where.
    Raises `ValueError` for one of verifier and `dpop_url` without the other, and for what is no such URL or scope.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        *,
        certificates: CertificateSource,
        scopes: Iterable[str] = (),
        authorization_details: Iterable[str] = (),
        actors: Collection[str] | None = None,
        dpop_url: str | None = None,
        metadata: ResourceMetadata | None = None,
    ) -> None:
        if verifier.accepts_dpop != (dpop_url is not None):
            raise ValueError("DPoP needs both a dpop_url here and the verifier's dpop, a place to note used proofs in")
        if dpop_url is not None and (not is_https_url(dpop_url) or "?" in dpop_url):
            raise ValueError("dpop_url is an https URL without query and fragment")
        if any(isinstance(several, str) for several in (scopes, authorization_details, actors)):
            raise ValueError("scopes, authorization_details and actors are lists of texts")
        self._verifier = verifier
        self._certificates = certificates
        self._scopes = tuple(scopes)
        self._authorization_details = tuple(authorization_details)
        self._actors = None if actors is None else frozenset(actors)
        self._dpop_url = None if dpop_url is None else dpop_url.rstrip("/")
        self._metadata = metadata
        challenge(scope=self._scopes)  # characters that no scope has are noticed at once

    @property
    def metadata(self) -> ResourceMetadata | None:
        """What is published of this resource."""
        return self._metadata

    @property
    def certificates(self) -> CertificateSource:
        """Where the client's certificate is found."""
        return self._certificates

    async def admit(self, request: ResourceRequest, *, scopes: Iterable[str] = ()) -> VerifiedToken | Answer:
        """The published document if the request asks for it, else as `check`: for middleware."""
        return self.published(request) or await self.check(request, scopes=scopes)

    def published(self, request: ResourceRequest) -> Answer | None:
        """The metadata document (RFC 9728 §3.2), for which nobody needs a token; None if it is not asked for."""
        if self._metadata is None or request.path != self._metadata.path or request.method not in _READING:
            return None
        body = json.dumps(self._metadata.document()).encode("ascii")
        return Answer(status=HTTPStatus.OK, headers=(("content-type", "application/json"),), body=body)

    async def check(self, request: ResourceRequest, *, scopes: Iterable[str] = ()) -> VerifiedToken | Refusal:
        """Decide about one request; `scopes` are needed beside those of every request.

        (1) one token, by a scheme that is accepted; (2) the client's certificate, where it is to be found; (3) the
        token itself, its binding and its scope; (4) its authorization details and actors. Raises nothing that an
        application would have to foresee.
        """
        scheme, needed = BEARER, (*self._scopes, *scopes)
        try:
            scheme, token = self._presented(request)  # (1)
            if token is None:
                return self._refusal(HTTPStatus.UNAUTHORIZED, scope=needed)
            certificate = self._certificates(request)  # (2)
            proof = self._dpop_request(request) if scheme == DPOP else None
            verified = await self._verifier.verify(token, certificate=certificate, dpop=proof, scopes=needed)  # (3)
            check_requirements(  # (4)
                verified.claims, authorization_details=self._authorization_details, actors=self._actors
            )
        except MalformedBearerRequest as error:
            refusal = self._refusal(HTTPStatus.BAD_REQUEST, error=BearerError.INVALID_REQUEST, description=str(error))
            return replace(refusal, detail=str(error))
        except (
            CertificateRefused,
            InsufficientAuthorization,
            InsufficientScope,
            InvalidDPoPProof,
            InvalidToken,
            VerificationUnavailable,
        ) as error:
            return replace(self._refused(error, scheme), detail=str(error))
        return verified

    def insufficient(self, token: VerifiedToken, scopes: Iterable[str]) -> Refusal | None:
        """The refusal of a token that the guard let in and that lacks one of these scopes: for what is asked later."""
        needed = (*self._scopes, *scopes)
        if set(needed).issubset(token.scope):
            return None
        return self._refused(InsufficientScope(needed), BEARER if token.dpop_thumbprint is None else DPOP)

    def _presented(self, request: ResourceRequest) -> tuple[str, str | None]:
        """The scheme and the token of a request, or no token. Raises `MalformedBearerRequest`."""
        authorization = request.header_values(b"authorization")
        for scheme in (BEARER,) if self._dpop_url is None else (BEARER, DPOP):
            token = bearer_token(authorization, request.query, scheme=scheme)
            if token is not None:
                return scheme, token
        return BEARER, None

    def _dpop_request(self, request: ResourceRequest) -> DPoPRequest:
        """What the proof must be for: the path as it was sent, below our own URL. Raises `InvalidDPoPProof`."""
        proofs = [value.decode("latin-1") for value in request.header_values(_PROOF_HEADER)]
        try:
            proof = single_proof(proofs)
        except ProofError as error:
            raise InvalidDPoPProof(error.refusal, str(error)) from None
        separator = "" if request.path.startswith("/") else "/"
        return DPoPRequest(proof=proof, method=request.method, url=f"{self._dpop_url}{separator}{request.path}")

    def _refused(self, error: Exception, scheme: str) -> Refusal:
        """The answer that goes with what was raised; why stays in the log."""
        match error:
            case InsufficientScope(required=scope, description=description):
                code = BearerError.INSUFFICIENT_SCOPE
                return self._refusal(HTTPStatus.FORBIDDEN, scheme, error=code, description=description, scope=scope)
            case VerificationUnavailable():
                _log.warning("access tokens cannot be verified: %s", error)
                description = "Access tokens cannot be verified now. Try again later."
                return self._refusal(HTTPStatus.SERVICE_UNAVAILABLE, description=description)
            case InvalidToken(description=description) | InvalidDPoPProof(description=description):
                _log.info("access token refused: %s", error)
                code = BearerError(error.error)
                return self._refusal(HTTPStatus.UNAUTHORIZED, scheme, error=code, description=description)
            case InsufficientAuthorization(description=description):
                _log.info("access token refused: %s", error)
                code = BearerError.INSUFFICIENT_SCOPE
                return self._refusal(HTTPStatus.FORBIDDEN, scheme, error=code, description=description)
            case CertificateRefused(status=status, description=description):
                _log.warning("request refused: %s", error)
                code = BearerError.INVALID_REQUEST
                return self._refusal(HTTPStatus(status), scheme, error=code, description=description)
            case _:
                raise error

    def _refusal(
        self,
        status: HTTPStatus,
        scheme: str = BEARER,
        *,
        error: BearerError | None = None,
        description: str | None = None,
        scope: Iterable[str] = (),
    ) -> Refusal:
        challenges = (
            () if status == HTTPStatus.SERVICE_UNAVAILABLE else self._challenges(scheme, error, description, scope)
        )
        headers = [("cache-control", "no-store"), *(("www-authenticate", value) for value in challenges)]
        body = b""
        if description is not None:
            headers.append(("content-type", "application/json"))
            members = {"error": error, "error_description": description}
            body = json.dumps({name: value for name, value in members.items() if value}).encode("ascii")
        return Refusal(status=status, headers=tuple(headers), body=body, error=error, description=description)

    def _challenges(
        self, scheme: str, error: BearerError | None, description: str | None, scope: Iterable[str]
    ) -> Iterator[str]:
        """That of the scheme that was tried, with what is wrong, and after the usual one that of DPoP if accepted."""
        metadata = None if self._metadata is None else self._metadata.url
        algorithms = ALGORITHMS if scheme == DPOP else ()
        yield challenge(
            scheme=scheme,
            error=error,
            description=description,
            scope=scope,
            algorithms=algorithms,
            resource_metadata=metadata,
        )
        if self._dpop_url is not None and scheme != DPOP:
            yield challenge(scheme=DPOP, algorithms=ALGORITHMS, resource_metadata=metadata)
