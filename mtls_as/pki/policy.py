"""What a trust domain asks of a path beyond RFC 5280 §6: usages of the leaf, strength of keys and signatures."""

from dataclasses import dataclass
from typing import Final, Literal

from mtls_as.pki.refused import PathError
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import Certificate

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
            _check_signature(certificate, depth)

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


def _check_signature(certificate: Certificate, depth: int) -> None:
    if certificate.signature_hash is not None and certificate.signature_hash not in _STRONG_HASHES:
        reason = f"its signature algorithm, {certificate.signature_hash}, is too weak or not known"
        raise PathError(Refusal.WEAK_SIGNATURE, depth, reason)


def _usage_names(certificate: Certificate) -> str:
    return ", ".join(sorted(_NAMES.get(oid, oid) for oid in certificate.extended_key_usages or ()))
