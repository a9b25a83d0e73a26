"""What every adapter asks of a request and its answer: may a token go there, and was the token refused."""

from collections.abc import Iterable
from http import HTTPStatus

from mtls_as.client.errors import InsecureRequest
from mtls_as.rfc.rfc6750_bearer import BEARER, BearerError
from mtls_as.rfc.rfc9110_challenge import ChallengeError, parse_challenges


def require_https(scheme: str, host: str) -> None:
    """Raises `InsecureRequest` for a URL that is not https (RFC 6750 §5.3)."""
    if scheme != "https":
        raise InsecureRequest(f"a token is only sent over https, not to {scheme}://{host}")


def calls_token_invalid(status: int, challenges: Iterable[str]) -> bool:
    """Whether an answer says that another token could do: 401 with `invalid_token` for Bearer (RFC 6750 §3.1).

    `challenges` are all values of `WWW-Authenticate`. What cannot be read says nothing.
    """
    if status != HTTPStatus.UNAUTHORIZED:
        return False
    try:
        found = parse_challenges(challenges)
    except ChallengeError:
        return False
    return any(c.scheme == BEARER.lower() and c.parameters.get("error") == BearerError.INVALID_TOKEN for c in found)
