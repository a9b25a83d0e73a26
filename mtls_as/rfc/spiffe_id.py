"""SPIFFE-ID, the names of workloads: `spiffe://trust-domain/path`, and the patterns that clients register.

From the SPIFFE-ID standard (§2) and draft-ietf-oauth-spiffe-client-auth-02 (§5.1). An ID has one spelling: what is not
written in it is refused and never repaired, so that equal names are equal texts.
"""

import re
from dataclasses import dataclass
from typing import Final

MAX_ID_BYTES: Final = 2048
MAX_TRUST_DOMAIN_BYTES: Final = 255

SCHEME: Final = "spiffe://"
_WILDCARD: Final = "/*"
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9._-]+")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]+")
_RIGHT_FORM: Final = "the right form is spiffe://trust-domain/path"


class SpiffeIDError(Exception):
    """The text is not a SPIFFE ID, or not a pattern of them. The message says what is wrong and quotes nothing."""


@dataclass(frozen=True, slots=True)
class SpiffeID:
    """A SPIFFE ID; made by `parse_spiffe_id`. The path is empty for the trust domain itself, else it begins with /."""

    trust_domain: str
    path: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.trust_domain}{self.path}"


@dataclass(frozen=True, slots=True)
class SpiffeIDPattern:
    """Which workloads a client is: one, or all those below a path (draft §5.1); made by `parse_spiffe_id_pattern`."""

    trust_domain: str
    path: str
    """Without the wildcard; empty for a whole trust domain."""
    is_prefix: bool

    def matches(self, spiffe_id: SpiffeID) -> bool:
        """Whether an ID is the one, or has further segments below the path. `/a/*` matches neither `/a` nor `/ab`."""
        if spiffe_id.trust_domain != self.trust_domain:
            return False
        if self.is_prefix:
            return spiffe_id.path.startswith(f"{self.path}/")
        return spiffe_id.path == self.path

    def __str__(self) -> str:
        return f"{SCHEME}{self.trust_domain}{self.path}{_WILDCARD if self.is_prefix else ''}"


def parse_spiffe_id(text: str) -> SpiffeID:
    """Read a SPIFFE ID, 2048 bytes at most (SPIFFE-ID §2). Raises `SpiffeIDError` and nothing else.

    The trust domain is in lower case and has neither port nor user; the path has no empty or relative segment, no
    percent-encoding and no slash at its end. There is no query and no fragment.
    """
    if len(text) > MAX_ID_BYTES:
        raise SpiffeIDError(f"it has more than {MAX_ID_BYTES} bytes")
    if not text.startswith(SCHEME):
        raise SpiffeIDError(f"it does not begin with {SCHEME}; {_RIGHT_FORM}")
    trust_domain, slash, path = text.removeprefix(SCHEME).partition("/")
    problem = trust_domain_problem(trust_domain) or (_path_problem(path) if slash else None)
    if problem:
        raise SpiffeIDError(f"{problem}; {_RIGHT_FORM}")
    return SpiffeID(trust_domain, f"{slash}{path}")


def parse_spiffe_id_pattern(text: str) -> SpiffeIDPattern:
    """Read what a client registers as `spiffe_id`: an ID with a path, or with `/*` at its end a prefix (draft §5.1).

    Raises `SpiffeIDError` and nothing else.
    """
    is_prefix = text.endswith(_WILDCARD)
    spiffe_id = parse_spiffe_id(text.removesuffix(_WILDCARD))
    if len(text) > MAX_ID_BYTES:
        raise SpiffeIDError(f"it has more than {MAX_ID_BYTES} bytes")
    if not spiffe_id.path and not is_prefix:
        raise SpiffeIDError("it has no path, and only a trust domain's own authority has such an ID")
    return SpiffeIDPattern(spiffe_id.trust_domain, spiffe_id.path, is_prefix)


def patterns_above(spiffe_id: SpiffeID) -> tuple[SpiffeIDPattern, ...]:
    """Every prefix pattern that matches an ID, the longest first."""
    segments = spiffe_id.path.split("/")[1:]
    paths = ["".join(f"/{segment}" for segment in segments[:count]) for count in range(len(segments))]
    return tuple(SpiffeIDPattern(spiffe_id.trust_domain, path, is_prefix=True) for path in reversed(paths))


def trust_domain_problem(name: str) -> str | None:
    """What keeps a text from being the name of a trust domain (SPIFFE-ID §2.1), or None."""
    if len(name) > MAX_TRUST_DOMAIN_BYTES:
        return f"the trust domain has more than {MAX_TRUST_DOMAIN_BYTES} bytes"
    if _TRUST_DOMAIN.fullmatch(name):
        return None
    return "the trust domain has lower-case letters, digits, dots, hyphens and underscores, one at least"


def _path_problem(path: str) -> str | None:
    for segment in path.split("/"):
        if segment in {"", ".", ".."}:
            return "the path has an empty or relative segment"
        if not _SEGMENT.fullmatch(segment):
            return "a segment of the path has letters, digits, dots, hyphens and underscores alone"
    return None
