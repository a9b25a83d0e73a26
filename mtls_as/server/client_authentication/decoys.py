"""Work for nothing: what a refused request costs must not tell whether its client exists.

A request whose client is unknown, or known by another method than it tried, does the work that its credential would
cost a client of that kind, with keys and digests that nobody holds. So a clock tells the same as the answer does.

What remains: the keys behind a `jwks_uri` are fetched when an assertion names one that is not among them, at most once
per cool-down, and whoever waits for that fetch can learn that a client publishes keys somewhere.
"""

import contextlib
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import assert_never

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mtls_as.pki.path import CertificateRefused
from mtls_as.pki.presented import PresentedCertificate
from mtls_as.pki.trust_domains import TrustDomains
from mtls_as.rfc import rfc7523_assertion, spiffe_jwt_svid
from mtls_as.rfc.rfc7517_jwk import PublicKey
from mtls_as.rfc.rfc7519_jwt import verify_in_vain
from mtls_as.server.client_authentication.credentials import ClientAssertion, Credential, PresentedSecret
from mtls_as.server.client_secrets import is_secret


def _nobodys_keys() -> dict[str, PublicKey]:
    """A key for each algorithm. Of a modulus, odd and of the right length is all that checking signatures asks."""
    modulus = secrets.randbits(2048) | 1 << 2047 | 1
    return {
        "ES256": ec.generate_private_key(ec.SECP256R1()).public_key(),
        "EdDSA": ed25519.Ed25519PrivateKey.generate().public_key(),
        "PS256": rsa.RSAPublicNumbers(65537, modulus).public_key(),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoys:
    """Keys that nobody holds, by algorithm."""

    public_keys: Mapping[str, PublicKey] = field(default_factory=_nobodys_keys, repr=False)

    async def verify_in_vain(
        self,
        credential: Credential | None,
        certificate: PresentedCertificate | None,
        *,
        client_id: str,
        trust_domains: TrustDomains,
        at: float,
    ) -> None:
        """The work of verifying what a request carried, for the outcome of which nobody asks. Never raises."""
        match credential:
            case PresentedSecret(text=text):
                is_secret(text, (), at=at)
            case ClientAssertion(text=text, type=kind):
                self._verify_assertion(text or "", is_svid=kind == spiffe_jwt_svid.CLIENT_ASSERTION_TYPE)
            case None:
                if certificate is not None:
                    await _verify_path(certificate, client_id=client_id, trust_domains=trust_domains, at=at)
            case _:
                assert_never(credential)

    def _verify_assertion(self, text: str, *, is_svid: bool) -> None:
        kind = spiffe_jwt_svid if is_svid else rfc7523_assertion
        verify_in_vain(text, self.public_keys, type=kind.TYPES, algorithms=kind.ALGORITHMS)


async def _verify_path(
    certificate: PresentedCertificate, *, client_id: str, trust_domains: TrustDomains, at: float
) -> None:
    """In a domain that is always the same for one name, as it is for a client."""
    names = sorted(trust_domains.names)
    if not names:
        return
    domain = names[zlib.crc32(client_id.encode("utf-8", "surrogatepass")) % len(names)]
    with contextlib.suppress(CertificateRefused):
        await trust_domains.verify_online(certificate, domain=domain, at=datetime.fromtimestamp(at, UTC))
