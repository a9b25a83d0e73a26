"""RFC 5280 §4.2.1.4: certificate policies, read from a certificate, and whether one of them holds along a path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mtls_as.rfc import x690_der as der

ANY_POLICY: Final = "2.5.29.32.0"

_CERTIFICATE_POLICIES: Final = "2.5.29.32"
_POLICY_MAPPINGS: Final = "2.5.29.33"
_INHIBIT_ANY_POLICY: Final = "2.5.29.54"
_MAX_POLICIES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatePolicies:
    """What one certificate says of policies, as dotted OIDs; nothing at all by default."""

    asserted: frozenset[str] = frozenset()
    """The policies it was issued under (§4.2.1.4), anyPolicy among them if it is there."""
    mapped: frozenset[str] = frozenset()
    """Every policy that its mappings name, on either side (§4.2.1.5)."""
    inhibit_any_after: int | None = None
    """How many more certificates below may rely on anyPolicy (§4.2.1.14), or None for no limit."""


_NOTHING: Final = CertificatePolicies()


@dataclass(frozen=True, slots=True)
class PolicyStep:
    """One certificate of a path."""

    policies: CertificatePolicies
    is_self_issued: bool
    """Whether its subject and its issuer are the same name (RFC 5280 §3.2)."""


def read_certificate_policies(extensions: Mapping[str, bytes]) -> CertificatePolicies:
    """Read the three extensions among those of a certificate, by OID. Raises `DERError`; 64 policies are the most."""
    if extensions.keys().isdisjoint({_CERTIFICATE_POLICIES, _POLICY_MAPPINGS, _INHIBIT_ANY_POLICY}):
        return _NOTHING
    inhibit = extensions.get(_INHIBIT_ANY_POLICY)
    return CertificatePolicies(
        asserted=_read_asserted(extensions.get(_CERTIFICATE_POLICIES)),
        mapped=_read_mapped(extensions.get(_POLICY_MAPPINGS)),
        inhibit_any_after=None if inhibit is None else _read_count(inhibit),
    )


def find_policy_break(path: Sequence[PolicyStep], policy: str) -> int | None:
    """The index of the certificate at which a policy ceases to hold, or None if it holds from end to end.

    `path` has the leaf first and leaves the anchor out. This is RFC 5280 §6.1 for one policy and without mappings:

    (1) every certificate asserts the policy itself, or, above the leaf, anyPolicy where no CA above inhibits that (a
    self-issued certificate may rely on it all the same, §6.1.3 (d) (2));
    (2) the leaf asserts the policy itself;
    (3) no certificate maps the policy to another or another to it, since its name means another policy from there on.
    """
    may_rely_on_any: float = float("inf")
    for index in reversed(range(len(path))):
        step = path[index]
        policies = step.policies
        any_policy = index > 0 and ANY_POLICY in policies.asserted and (may_rely_on_any > 0 or step.is_self_issued)
        if policy in policies.mapped or not (policy in policies.asserted or any_policy):
            return index
        if not step.is_self_issued:
            may_rely_on_any = max(0, may_rely_on_any - 1)
        if policies.inhibit_any_after is not None:
            may_rely_on_any = min(may_rely_on_any, policies.inhibit_any_after)
    return None


def _read_asserted(value: bytes | None) -> frozenset[str]:
    if value is None:
        return frozenset()
    information = der.read_sequence(value, limit=_MAX_POLICIES)
    return frozenset(_first_identifier(policy) for policy in information)


def _first_identifier(policy: der.Element) -> str:
    parts = der.read_elements(der.expect(policy, der.SEQUENCE).content, limit=2)
    if not parts:
        raise der.DERError("a certificate policy is empty")
    return der.read_object_identifier(parts[0])


def _read_mapped(value: bytes | None) -> frozenset[str]:
    if value is None:
        return frozenset()
    return frozenset(
        der.read_object_identifier(identifier)
        for mapping in der.read_sequence(value, limit=_MAX_POLICIES)
        for identifier in der.read_elements(der.expect(mapping, der.SEQUENCE).content, limit=2)
    )


def _read_count(value: bytes) -> int:
    count = der.read_integer(der.read_element(value))
    if count < 0:
        raise der.DERError("a number of certificates is negative")
    return count
