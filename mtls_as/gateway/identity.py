"""What the service behind the proxy is told of a token: headers of the answer, which the proxy copies."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from mtls_as.verifier import VerifiedToken

MEMBERS: Final = ("Client-Id", "Subject", "Scope", "Audience", "Id", "Issuer", "Expires", "Thumbprint")
"""What follows the prefix. All of them are in every answer that lets a request in; without a value they are empty."""

# Everything that can be printed, except for spaces and the percent sign that begins a code.
_PLAIN: Final = re.compile(r"[!-$&-~]*")
_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
_SEPARATORS: Final = re.compile(rb"[^0-9a-z]")


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityHeaders:
    """The headers of one prefix, such as `X-Token-`."""

    prefix: str
    _normal_prefix: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_normal_prefix", _normal(self.prefix.encode("ascii")))

    def of(self, token: VerifiedToken) -> dict[str, str]:
        """The headers for a token; each value is printable ASCII, lists have spaces between their members."""
        claims = token.claims
        values = (
            _text(claims.client_id),
            _text(claims.subject),
            " ".join(claims.scope),
            " ".join(map(_text, claims.audience)),
            _text(claims.jwt_id or ""),
            _text(claims.issuer),
            str(int(claims.expires_at)),
            token.thumbprint or token.dpop_thumbprint or "",
        )
        return {f"{self.prefix}{member}": value for member, value in zip(MEMBERS, values, strict=True)}

    def find_spoofed(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
        """The name of a header that a service could take for one of these, if a request has one.

        CGI, WSGI and the like turn hyphens into underscores, and some everything that is no letter or digit: to them
        `X_Token_Subject` is `X-Token-Subject`. So whatever begins with the prefix in any such spelling is found.
        """
        start, length = self._normal_prefix, len(self._normal_prefix)
        initials = (start[:1], start[:1].upper())  # most headers are passed over by their first letter
        for name, _ in headers:
            if name.startswith(initials) and _normal(name[:length]) == start:
                return name
        return None


def _normal(name: bytes) -> bytes:
    return _SEPARATORS.sub(b"-", name.lower())


def _text(value: str) -> str:
    """A value that can neither end a header nor pass for two: what is not printable ASCII is percent-encoded UTF-8."""
    return value if _PLAIN.fullmatch(value) else quote(value, safe=_SAFE, errors="replace")
