"""What a trust domain asks of a path beyond RFC 5280 §6: usages, keys and signatures, an issuer, a policy."""

from dataclasses import dataclass, field
from typing import Final, Literal

from mtls_as.pki.refused import PathError
from mtls_as.rfc.certificate_pins import Pins
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import Certificate
from mtls_as.rfc.rfc5280_policies import PolicyStep, find_policy_break

ExtendedKeyUsage = Literal["clientAuth", "any"]

_CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
_ANY_EXTENDED_KEY_USAGE: Final = "2.5.29.37.0"
_NAMES: Final = {
    _CLIENT_AUTH: "clientAuth", _ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage", "1.3.6.1.5.5.7.3.1": "serverAuth",
    "1.3.6.1.5.5.7.3.3": "codeSigning", "1.3.6.1.5.5.7.3.4": "emailProtection", "1.3.6.1.5.5.7.3.8": "timeStamping",
    "1.3.6.1.5.5.7.3.9": "OCSPSigning",
}  # fmt: skip
_STRONG_HASHES: Final = frozenset(
    {"sha224", "sha256", "sha384", "sha512", "sha512-224", "sha512-256", "sha3-224", "sha3-256", "sha3-384", "sha3-512"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPolicy:
    """The policy of one trust domain."""

    extended_key_usage: ExtendedKeyUsage
    """`clientAuth`: the leaf must name it, and no CA of the path may exclude it. `any`: the extension is not asked."""
    minimum_key_strength: int
    """In bits of security, as `Certificate.key_strength`; for every key of the path."""
    signature_algorithms: frozenset[str] = frozenset()
    """What may sign the certificates of the path, as `Certificate.signature_algorithm`; empty for every strong one."""
    required_issuers: Pins = field(default_factory=Pins)
    """If there are any, one of them is of a CA on the path, the anchor among them. A pin of a key is as good as one of
    the certificate here: the path proves that the key's holder issued what stands below."""
    required_policies: tuple[str, ...] = ()
    """Certificate policies, dotted OIDs; if there are any, one of them holds along the path, as in `find_policy_break`.
    OpenSSL's explicit-policy check cannot be asked for a policy through pyOpenSSL, so this check is our own."""

    def check(self, path: tuple[Certificate, ...]) -> None:
        """Check a path, leaf first, anchor last. Raises `PathError`."""
        leaf, *authorities = path
        _check_key_usage(leaf)
        if self.extended_key_usage == "clientAuth":
            _check_leaf_extended_key_usage(leaf)
            for depth, authority in enumerate(authorities, 1):
                _check_authority_extended_key_usage(authority, depth)
        for depth, certificate in enumerate(path):
            self._check_key(certificate, depth)
        # The anchor is trusted as it stands: its own signature proves nothing (RFC 5280 §6.1.1 (d)).
        for depth, certificate in enumerate(path[:-1]):
            self._check_signature(certificate, depth)
        self._check_issuer(path)
        self._check_policies(path)

    def shortcoming_of_anchor(self, anchor: Certificate) -> str | None:
        """Why no path on this anchor can ever pass, or None."""
        try:
            self._check_key(anchor, 0)
            if self.extended_key_usage == "clientAuth":
                _check_authority_extended_key_usage(anchor, 0)
        except PathError as error:
            return f"can vouch for nothing: {error.reason}"
        return None

    def _check_key(self, certificate: Certificate, depth: int) -> None:
        if certificate.key_strength < max(self.minimum_key_strength, 1):
            reason = (
                f"its key, {certificate.key_description}, is weaker than {self.minimum_key_strength} bits of security"
            )
            raise PathError(Refusal.WEAK_KEY, depth, reason)

    def _check_signature(self, certificate: Certificate, depth: int) -> None:
        if not has_strong_signature(certificate):
            reason = f"its signature algorithm, {certificate.signature_hash}, is too weak or not known"
            raise PathError(Refusal.WEAK_SIGNATURE, depth, reason)
        if self.signature_algorithms and certificate.signature_algorithm not in self.signature_algorithms:
            reason = f"the domain does not allow its signature algorithm, {certificate.signature_algorithm}"
            raise PathError(Refusal.SIGNATURE_ALGORITHM_NOT_ALLOWED, depth, reason)

    def _check_issuer(self, path: tuple[Certificate, ...]) -> None:
        pins = self.required_issuers
        if pins and not any(pins.name_certificate(issuer) or pins.name_key(issuer) for issuer in path[1:]):
            raise PathError(Refusal.REQUIRED_ISSUER_MISSING, 0, "no CA that the domain requires is on its path")

    def _check_policies(self, path: tuple[Certificate, ...]) -> None:
        if not self.required_policies:
            return
        steps = [PolicyStep(c.policies, is_self_issued=c.subject == c.issuer) for c in path[:-1]]
        breaks = [find_policy_break(steps, policy) for policy in self.required_policies]
        if None not in breaks:
            # Of several policies, the one that held for longest: the lowest break is the nearest miss.
            depth, policy = min(zip((b for b in breaks if b is not None), self.required_policies, strict=True))
            reason = f"the certificate policy {policy}, which the domain requires, does not hold here"
            raise PathError(Refusal.REQUIRED_POLICY_MISSING, depth, reason)


def has_strong_signature(certificate: Certificate) -> bool:
    """Whether the hash of its signature resists collisions; algorithms without a hash of their own do."""
    return certificate.signature_hash is None or certificate.signature_hash in _STRONG_HASHES


def find_authority_problem(certificate: Certificate) -> str | None:
    """Why a certificate can be no anchor, or None: an anchor is a CA that may sign certificates."""
    if not certificate.is_ca:
        return "is not the certificate of a CA: only CAs can be anchors"
    if certificate.key_usages is not None and "keyCertSign" not in certificate.key_usages:
        return "may not sign certificates: its key usage lacks keyCertSign"
    return None


def _check_key_usage(leaf: Certificate) -> None:
    if leaf.key_usages is not None and "digitalSignature" not in leaf.key_usages:
        names = ", ".join(sorted(leaf.key_usages)) or "none"
        raise PathError(Refusal.WRONG_KEY_USAGE, 0, f"its key usage is {names}, without digitalSignature")


def _check_leaf_extended_key_usage(leaf: Certificate) -> None:
    # anyExtendedKeyUsage is not enough, as in OpenSSL: RFC 5280 §4.2.1.12 lets applications ask for the one they mean.
    if leaf.extended_key_usages is None:
        reason = "it has no extended key usage, and the domain asks for clientAuth"
        raise PathError(Refusal.WRONG_EXTENDED_KEY_USAGE, 0, reason)
    if _CLIENT_AUTH not in leaf.extended_key_usages:
        reason = f"its extended key usage is {_usage_names(leaf)}, and the domain asks for clientAuth"
        raise PathError(Refusal.WRONG_EXTENDED_KEY_USAGE, 0, reason)


def _check_authority_extended_key_usage(authority: Certificate, depth: int) -> None:
    usages = authority.extended_key_usages
    if usages is not None and usages.isdisjoint({_CLIENT_AUTH, _ANY_EXTENDED_KEY_USAGE}):
        reason = f"its extended key usage is {_usage_names(authority)}, which excludes clientAuth for all below it"
        raise PathError(Refusal.WRONG_EXTENDED_KEY_USAGE, depth, reason)


def _usage_names(certificate: Certificate) -> str:
    return ", ".join(sorted(_NAMES.get(oid, oid) for oid in certificate.extended_key_usages or ()))
