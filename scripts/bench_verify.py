"""How long it takes to verify an access token, compared with the bare check of its signature.

    .venv/bin/python scripts/bench_verify.py

In one process and in turn, for tokens of ES256 that are bound to a certificate: OpenSSL's check of the signature alone,
with everything prepared; a token that the verifier has never seen; the same token and certificate again, by the
coroutine and without one. Every token is checked with another certificate too, which must fail. Exit status 1 if a
limit is exceeded.
"""

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from mtls_as.rfc.rfc4648_base64url import decode_base64url
from mtls_as.rfc.rfc7517_jwk import public_jwk, thumbprint
from mtls_as.rfc.rfc7519_jwt import sign
from mtls_as.rfc.rfc7800_confirmation import CertificateBinding
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.rfc.rfc9068_at_jwt import ACCESS_TOKEN_TYPE, encode_claims
from mtls_as.verifier import AccessTokenVerifier, InvalidToken

FIRST_LIMIT: Final = 1.3
"""Times the bare check."""
AGAIN_LIMIT: Final = 5e-6
"""Seconds."""
ISSUER: Final = "https://as.example"
AUDIENCE: Final = "https://api.example"
SCOPES: Final = ("reports:read",)
# As long as a usual one; nothing looks inside.
CERTIFICATE: Final = b"\x30" + bytes(range(256)) * 2
OTHER: Final = b"\x30" + bytes(512)
_P256: Final = 32


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A token, and the parts of its signature as OpenSSL wants them."""

    token: str
    message: bytes
    signature: bytes


class Contenders:
    """What is compared. Each takes seconds for one sample."""

    def __init__(self) -> None:
        self._private_key = ec.generate_private_key(ec.SECP256R1())
        self._public_key = self._private_key.public_key()
        self._kid = thumbprint(self._public_key)
        self._verifier = AccessTokenVerifier(
            issuer=ISSUER,
            audience=AUDIENCE,
            jwks={"keys": [public_jwk(self._public_key, kid=self._kid, algorithm="ES256")]},
        )
        self._ecdsa = ec.ECDSA(hashes.SHA256())

    def sample(self, number: int) -> Sample:
        """A token that nobody has seen."""
        now = int(time.time())
        claims = encode_claims(
            issuer=ISSUER,
            subject="reports",
            client_id="reports",
            audience=(AUDIENCE,),
            scope=SCOPES,
            issued_at=now,
            expires_at=now + 300,
            jwt_id=f"{number:022}",
            confirmation=CertificateBinding(x5t_s256(CERTIFICATE)),
        )
        token = sign(claims, type=ACCESS_TOKEN_TYPE, kid=self._kid, algorithm="ES256", private_key=self._private_key)
        message, _, signature = token.rpartition(".")
        octets = decode_base64url(signature)
        r, s = int.from_bytes(octets[:_P256]), int.from_bytes(octets[_P256:])
        return Sample(token=token, message=message.encode("ascii"), signature=encode_dss_signature(r, s))

    def bare(self, sample: Sample) -> None:
        """The signature alone."""
        self._public_key.verify(sample.signature, sample.message, self._ecdsa)

    def verify(self, sample: Sample) -> None:
        """All that a resource server asks for. Without keys to fetch the coroutine never waits."""
        coroutine = self._verifier.verify(sample.token, certificate=CERTIFICATE, scopes=SCOPES)
        try:
            coroutine.send(None)
        except StopIteration:
            return
        raise AssertionError

    def verify_cached(self, sample: Sample) -> None:
        """The same without a coroutine."""
        if self._verifier.verify_cached(sample.token, certificate=CERTIFICATE, scopes=SCOPES) is None:
            raise AssertionError

    async def require_refusal(self, sample: Sample) -> None:
        """Raises `AssertionError` unless the token is refused with another certificate, by both ways."""
        with contextlib.suppress(InvalidToken):
            await self._verifier.verify(sample.token, certificate=OTHER, scopes=SCOPES)
            raise AssertionError
        with contextlib.suppress(InvalidToken):
            self._verifier.verify_cached(sample.token, certificate=OTHER, scopes=SCOPES)
            raise AssertionError


def compare(tokens: int) -> dict[str, list[float]]:
    """Seconds of each contender for each token, each asked in turn."""
    contenders = Contenders()
    titles: dict[str, Callable[[Sample], None]] = {
        "bare signature check": contenders.bare,
        "a new token": contenders.verify,
        "the same again": contenders.verify,
        "the same again, without a coroutine": contenders.verify_cached,
    }
    times: dict[str, list[float]] = {title: [] for title in titles}
    samples = [contenders.sample(number) for number in range(tokens)]
    for sample in samples:
        for title, ask in titles.items():
            started = time.perf_counter()
            ask(sample)
            times[title].append(time.perf_counter() - started)
    asyncio.run(_require_refusals(contenders, samples))
    return times


async def _require_refusals(contenders: Contenders, samples: Sequence[Sample]) -> None:
    for sample in samples[-1_000:]:
        await contenders.require_refusal(sample)


def main() -> int:
    """Run the benchmark; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=20_000)
    options = parser.parse_args()
    times = compare(options.tokens)
    print(f"| {options.tokens} tokens | median | 95 % |\n|---|---|---|")
    for title, seconds in times.items():
        print(f"| {title} | {median(seconds) * 1e6:.2f} µs | {quantiles(seconds, n=20)[-1] * 1e6:.2f} µs |")
    bare, first, again, _ = (median(seconds) for seconds in times.values())
    print(f"\na new token: {first / bare:.2f} times the bare check (limit {FIRST_LIMIT})")
    print(f"the same again: {again * 1e6:.2f} µs (limit {AGAIN_LIMIT * 1e6:g} µs)")
    return 0 if first <= FIRST_LIMIT * bare and again <= AGAIN_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
