"""RFC 9449, Demonstrating Proof of Possession: proofs that a request comes from whoever holds a key.

Where the standard leaves a choice: proofs are signed with ES256, PS256 or EdDSA; they are good for 60 seconds, and 10
seconds ahead of the clock (FAPI 2.0 §5.3.2.1); `exp` and `nbf` hold where they stand; a `jti` has 256 characters at
most, and is single use for its key whatever it was used for.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc3986_uri import normalise_https_url
from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.rfc.rfc7517_jwk import thumbprint
from mtls_as.rfc.rfc7519_claims import numeric_date, required_numeric_date
from mtls_as.rfc.rfc7519_jwt import BadSignatureError, JWTError
from mtls_as.rfc.rfc7519_jwt import verify_proof as verify_jwt
from mtls_as.rfc.rfc8705_mtls import thumbprints_equal

HEADER: Final = "DPoP"
NONCE_HEADER: Final = "DPoP-Nonce"
TOKEN_TYPE: Final = "DPoP"  # noqa: S105 # §5: the name of a kind of token
PROOF_TYPE: Final = "dpop+jwt"
ALGORITHMS: Final = ("ES256", "PS256", "EdDSA")
MAX_AGE: Final = 60.0
"""Seconds after its `iat` that a proof is good."""
LEEWAY: Final = 10.0
"""Seconds that the clock of its sender may be ahead."""
MAX_JWT_ID_LENGTH: Final = 256


class ProofError(Exception):
    """The proof does not count for this request. `refusal` and the message are for the log; no input is quoted."""

    def __init__(self, refusal: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A proof that is good for its request, once: the caller must still see that it was never used before."""

    thumbprint: str
    """Of the key that the sender holds (RFC 7638): the `jkt` that tokens are bound to."""
    nonce: str | None
    use: str
    """A name for this proof, equal for no other: its key's thumbprint and its `jti`."""
    ends_at: float
    """Epoch seconds; from then on it is refused for its age."""


def single_proof(headers: Sequence[str]) -> str:
    """The proof of a request, from all values of its `DPoP` header (§4.3, item 1). Raises `ProofError`."""
    if not headers:
        raise ProofError(Refusal.DPOP_PROOF_MISSING, "there is no DPoP header")
    if len(headers) > 1:
        raise _malformed(f"there are {len(headers)} DPoP headers")
    return headers[0]


def verify_proof(proof: str, *, method: str, url: str, at: float, access_token: str | None = None) -> Proof:
    """Check a proof for one request at a time in epoch seconds (§4.3).

    (1) A JWT of its type, signed by the public key in its own header; (2) `jti` and `iat`, of a moment ago; (3) `htm`
    and `htu` are the request's method and its URL without query and fragment; (4) with an access token, `ath` is its
    hash. `url` is what the caller knows its own address to be, never what the request says of it.

    Raises `ProofError` and nothing else. The caller must still see that the key is the one that `access_token` is bound
    to, that the nonce is one it gave, and that the proof was never used before.
    """
    claims, key_thumbprint = _verify_signature(proof)  # (1)
    jwt_id = claims.get("jti")  # (2)
    if not isinstance(jwt_id, str) or not 0 < len(jwt_id) <= MAX_JWT_ID_LENGTH:
        raise _malformed(f"jti is not a string of 1 to {MAX_JWT_ID_LENGTH} characters")
    ends_at = _check_times(claims, at)
    _check_request(claims, method, url)  # (3)
    if access_token is not None:  # (4)
        _check_token(claims, access_token)
    nonce = claims.get("nonce")
    if nonce is not None and not isinstance(nonce, str):
        raise _malformed("nonce is not a string")
    # A thumbprint has no space in it, so no two keys share a use.
    return Proof(thumbprint=key_thumbprint, nonce=nonce, use=f"dpop {key_thumbprint} {jwt_id}", ends_at=ends_at)


def access_token_hash(token: str) -> str:
    """The `ath` of an access token (§4.2): base64url of the SHA-256 of its ASCII."""
    return encode_base64url(hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest())


def _verify_signature(proof: str) -> tuple[Mapping[str, object], str]:
    try:
        verified, key = verify_jwt(proof, type=PROOF_TYPE, algorithms=ALGORITHMS)
    except BadSignatureError as error:
        raise ProofError(Refusal.DPOP_PROOF_UNTRUSTED, str(error)) from None
    except JWTError as error:
        raise _malformed(str(error)) from None
    return verified.claims, thumbprint(key)


def _check_times(claims: Mapping[str, object], at: float) -> float:
    try:
        issued_at = required_numeric_date(claims, "iat")
        expires_at, not_before = numeric_date(claims, "exp"), numeric_date(claims, "nbf")
    except JWTError as error:
        raise _malformed(str(error)) from None
    ends_at = issued_at + MAX_AGE if expires_at is None else min(issued_at + MAX_AGE, expires_at)
    if at >= ends_at:
        raise ProofError(Refusal.DPOP_PROOF_EXPIRED, f"it ended {at - ends_at:.0f} s ago")
    begins_at = issued_at if not_before is None else max(issued_at, not_before)
    if begins_at > at + LEEWAY:
        raise ProofError(Refusal.DPOP_PROOF_NOT_YET_VALID, f"it begins in {begins_at - at:.0f} s")
    return ends_at


def _check_request(claims: Mapping[str, object], method: str, url: str) -> None:
    if claims.get("htm") != method:
        raise _for_another_request("htm is not the method of the request")
    target = claims.get("htu")
    if not isinstance(target, str):
        raise _malformed("htu is missing or not a string")
    own = normalise_https_url(url)
    if own is None or normalise_https_url(target) != own:
        raise _for_another_request("htu is not the URL of the request")


def _check_token(claims: Mapping[str, object], access_token: str) -> None:
    token_hash = claims.get("ath")
    if not isinstance(token_hash, str):
        raise _malformed("ath is missing or not a string")
    if not thumbprints_equal(token_hash, access_token_hash(access_token)):
        raise _for_another_request("ath is not the hash of the access token")


def _malformed(reason: str) -> ProofError:
    return ProofError(Refusal.DPOP_PROOF_MALFORMED, reason)


def _for_another_request(reason: str) -> ProofError:
    return ProofError(Refusal.DPOP_PROOF_OF_ANOTHER_REQUEST, reason)
