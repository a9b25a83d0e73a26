"""How long a new certificate's verdict takes with many trust domains and clients, compared with one domain.

    .venv/bin/python scripts/bench_trust.py

Both servers are asked in turn, in one process, about certificates that they have never seen: look up the client, build
and verify the path in the client's own domain, compare the subject. Exit status 1 if the ratio is above the limit.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_as.pki.presented import PresentedCertificate, present
from mtls_as.pki.trust_domains import TrustDomains, TrustDomainSettings
from mtls_as.rfc.rfc7591_client_metadata import TlsClientAuth
from mtls_as.rfc.rfc8705_mtls import match_subject
from mtls_as.server.client_directory import ClientDirectory, StoredClients
from mtls_as.server.clients import Client, ClientSource, parse_client

LIMIT: Final = 1.2
_KEY: Final = ec.generate_private_key(ec.SECP256R1())  # of every leaf: making keys is not what is measured
_NOW: Final = datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Authority:
    """The CA of one domain."""

    domain: str
    certificate: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, domain: str) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_name(f"CA of {domain}"), _name(f"CA of {domain}"), key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(domain=domain, certificate=certificate, private_key=key)

    def issue(self, name: str) -> PresentedCertificate:
        """A new certificate."""
        leaf = (
            _builder(_name(name), self.certificate.subject, _KEY.public_key())
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(self.private_key, hashes.SHA256())
        )
        return present([leaf.public_bytes(Encoding.DER)])


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One server's trust domains, and its clients."""

    title: str
    trust: TrustDomains
    clients: ClientDirectory
    authorities: Sequence[Authority]
    clients_per_domain: int

    @classmethod
    def build(cls, title: str, *, domains: int, clients_per_domain: int, folder: Path) -> "Contender":
        started = time.perf_counter()
        authorities = [Authority.create(f"d{number}") for number in range(domains)]
        for authority in authorities:
            pem = authority.certificate.public_bytes(Encoding.PEM)
            (folder / f"{title}-{authority.domain}.pem").write_bytes(pem)
        prepared = time.perf_counter()
        settings = [TrustDomainSettings(name=a.domain, anchors=(f"{title}-{a.domain}.pem",)) for a in authorities]
        trust = TrustDomains.load(settings, base=folder)
        loaded = time.perf_counter()
        clients = [_client(a.domain, number) for a in authorities for number in range(clients_per_domain)]
        directory = ClientDirectory({client.client_id: client for client in clients}, StoredClients(_no_stored_client))
        print(
            f"{title}: {domains} domains and {len(clients)} clients; anchors loaded in {loaded - prepared:.2f} s, "
            f"clients read in {time.perf_counter() - loaded:.2f} s (certificates made in {prepared - started:.2f} s)"
        )
        return cls(
            title=title,
            trust=trust,
            clients=directory,
            authorities=authorities,
            clients_per_domain=clients_per_domain,
        )

    async def judge_new(self, choice: random.Random) -> float:
        """Seconds for the verdict on a certificate that was made just now, for a client of any domain."""
        authority = choice.choice(self.authorities)
        client_id = f"{authority.domain}-{choice.randrange(self.clients_per_domain)}"
        presented, at = authority.issue(f"{client_id}.example"), datetime.now(UTC)
        started = time.perf_counter()
        client = await self.clients.find(client_id)
        assert client is not None  # noqa: S101 # a benchmark of refusals would measure something else
        assert client.trust is not None  # noqa: S101 # as above
        assert isinstance(client.metadata.authentication, TlsClientAuth)  # noqa: S101 # as above
        trusted = await self.trust.verify_online(presented, domain=client.trust, at=at)
        mismatch = match_subject(client.metadata.authentication.subject, trusted.presented.leaf)
        seconds = time.perf_counter() - started
        assert mismatch is None, mismatch  # noqa: S101 # as above
        return seconds


async def compare(few: Contender, many: Contender, *, verdicts: int) -> float:
    """Ask both in turn, print a table, and return the ratio of the medians."""
    choice = random.Random(1)  # noqa: S311 # the same clients in every run
    times: dict[str, list[float]] = {few.title: [], many.title: []}
    for contender in (few, many):
        for _ in range(100):
            await contender.judge_new(choice)
    for number in range(verdicts):
        for contender in (few, many) if number % 2 else (many, few):
            times[contender.title].append(await contender.judge_new(choice))
    print(f"\n| {verdicts} new certificates each | median | 95 % | mean |\n|---|---|---|---|")
    for title, seconds in times.items():
        slow = quantiles(seconds, n=20)[-1]
        mean = sum(seconds) / len(seconds)
        print(f"| {title} | {median(seconds) * 1e6:.0f} µs | {slow * 1e6:.0f} µs | {mean * 1e6:.0f} µs |")
    return median(times[many.title]) / median(times[few.title])


def _client(domain: str, number: int) -> Client:
    members = {
        "client_id": f"{domain}-{number}",
        "trust": domain,
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": f"{domain}-{number}.example",
    }
    return parse_client(members, ClientSource.CONFIGURATION)


async def _no_stored_client(_client_id: str) -> None:
    return None


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOW - timedelta(hours=1))
        .not_valid_after(_NOW + timedelta(days=1))
    )


def main() -> int:
    """Run the benchmark; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domains", type=int, default=1_000)
    parser.add_argument("--clients", type=int, default=100_000, help="over all domains")
    parser.add_argument("--verdicts", type=int, default=3_000, help="measured for each contender")
    options = parser.parse_args()
    per_domain = options.clients // options.domains
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(KeyboardInterrupt):
        few = Contender.build("one domain", domains=1, clients_per_domain=per_domain, folder=Path(folder))
        many = Contender.build(
            "many domains", domains=options.domains, clients_per_domain=per_domain, folder=Path(folder)
        )
        ratio = asyncio.run(compare(few, many, verdicts=options.verdicts))
        print(f"\nratio of the medians: {ratio:.2f} (limit {LIMIT})")
        return 0 if ratio <= LIMIT else 1
    return 130


if __name__ == "__main__":
    sys.exit(main())
