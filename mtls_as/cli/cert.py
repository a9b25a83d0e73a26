"""`mtls-as cert`: what a certificate says, and what the server would say to it."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mtls_as.cli.options import config_option, json_option
from mtls_as.cli.output import say, say_json

if TYPE_CHECKING:
    from mtls_as.cli.judgement import Verdict
    from mtls_as.cli.vouching import Vouching
    from mtls_as.config import Settings
    from mtls_as.pki.presented import PresentedCertificate
    from mtls_as.rfc.rfc5280_certificate import Certificate
    from mtls_as.server.clients import Client

_LABEL_WIDTH = 20
_MOST_STORED = 1_000
"""Nobody reads what more of them say."""


@click.group()
def cert() -> None:
    """Look at certificates."""


@cert.command(short_help="Print what a certificate says, and who would be accepted with it.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--client", "client_id", metavar="ID", help="Judge this client only.")
@config_option
@json_option
@click.pass_context
def explain(ctx: click.Context, file: Path, client_id: str | None, config: Path, *, as_json: bool) -> None:
    """Print what the certificate in FILE says, the lines that register it, and who would be accepted with it.

    FILE is PEM (the client's own certificate first, then its intermediates) or DER. Each trust domain says by which
    path it trusts the certificate and what is known of its revocation, or why it refuses it; the configured revocation
    lists and responders are asked. Of the clients in the database the first 1000 are. Without a configuration file only
    the certificate is explained.

    \b
    Example:
      mtls-as cert explain partner.pem --client partner
    """
    from mtls_as.cli.certificate_facts import certificate_facts
    from mtls_as.cli.files import read_certificates

    now = datetime.now(UTC)
    chain = read_certificates(file)
    facts = certificate_facts(chain[0], at=now)
    judgement = None
    if _has_configuration(ctx, config, client_id):
        judgement = asyncio.run(_judge(config, chain, client_id, at=now))
    if as_json:
        say_json(facts | _judgement_members(judgement, at=now))
        return
    say(str(file))
    _say_facts(facts)
    if len(chain) > 1:
        _say_field("also in the file", ", ".join(str(issuer.subject) for issuer in chain[1:]))
    _say_registration(facts, file)
    if judgement is None:
        say()
        say(f"There is no {config} here, so there are no clients to ask about.")
    else:
        _say_vouchings(judgement.vouchings, all_of_them=client_id is not None, at=now)
        _say_verdicts(judgement.verdicts)


def _has_configuration(ctx: click.Context, config: Path, client_id: str | None) -> bool:
    """Whether there are clients to ask about; a file that was asked for must be there."""
    is_default = ctx.get_parameter_source("config") is click.core.ParameterSource.DEFAULT
    return config.exists() or not is_default or client_id is not None


@dataclass(frozen=True, slots=True)
class _Judgement:
    """What trust domains and clients say of a certificate."""

    vouchings: "Sequence[Vouching]"
    verdicts: "Sequence[Verdict]"


async def _judge(config: Path, chain: "Sequence[Certificate]", client_id: str | None, *, at: datetime) -> "_Judgement":
    from mtls_as.config import load_settings
    from mtls_as.pki.presented import present

    settings = load_settings(config)
    clients = await _clients(settings, client_id)
    return await _ask(settings, clients, present([certificate.der for certificate in chain]), client_id, at=at)


async def _clients(settings: "Settings", client_id: str | None) -> "list[Client]":
    from mtls_as.cli.client import one_client, some_clients

    if client_id is None:
        clients = await some_clients(settings, _MOST_STORED + 1)
        if len(clients) > len(settings.clients) + _MOST_STORED:
            warning = f"only {_MOST_STORED} clients of the database were asked: name another with --client"
            click.echo(f"mtls-as: warning: {warning}", err=True)
            clients.pop()
        return clients
    client = await one_client(settings, client_id)
    if client is None:
        raise click.ClickException(
            f"there is no client {client_id}, neither in {settings.path.name} nor in the database"
        )
    return [client]


async def _ask(
    settings: "Settings",
    clients: "Sequence[Client]",
    presented: "PresentedCertificate",
    client_id: str | None,
    *,
    at: datetime,
) -> _Judgement:
    from mtls_as.cli.judgement import judge
    from mtls_as.cli.vouching import ask_spiffe_domain, ask_trust_domains
    from mtls_as.pki.revocation import Revocation
    from mtls_as.pki.trust_domains import TrustDomains
    from mtls_as.rfc.spiffe_x509_svid import X509SVIDError, read_x509_svid
    from mtls_as.server.revocation_fetcher import RevocationFetcher
    from mtls_as.server.spiffe_federation import Federation

    seconds = at.timestamp()
    federation = Federation(settings.spiffe_domains, clock=lambda: seconds, keeps_copies=False)
    await federation.refresh()
    fetcher = RevocationFetcher()
    revocation = Revocation(base=settings.folder, fetcher=fetcher)
    trust = TrustDomains.load(settings.trust_domains, base=settings.folder, revocation=revocation)
    domains = [d for d in settings.trust_domains if client_id is None or d.name in {c.trust for c in clients}]
    try:
        async with revocation.following():
            vouchings = await ask_trust_domains(presented, trust, domains, at=at)
            with contextlib.suppress(X509SVIDError):
                spiffe_id = read_x509_svid(presented.leaf)
                if spiffe_id.trust_domain in federation.current().names:
                    vouchings.append(ask_spiffe_domain(presented, federation.current(), spiffe_id, at=at))
            verdicts = await judge(
                clients, presented, trust=trust, spiffe=federation, issuer=settings.issuer, at=seconds
            )
    finally:
        await fetcher.aclose()
    return _Judgement(vouchings, verdicts)


def _judgement_members(judgement: _Judgement | None, *, at: datetime) -> dict[str, object]:
    from mtls_as.cli.vouching import vouching_members

    if judgement is None:
        return {"trust_domains": None, "clients": None}
    return {
        "trust_domains": [vouching_members(vouching, at=at) for vouching in judgement.vouchings],
        "clients": [_verdict_members(verdict) for verdict in judgement.verdicts],
    }


def _verdict_members(verdict: "Verdict") -> dict[str, object]:
    client = verdict.client
    return {
        "client_id": client.client_id,
        "token_endpoint_auth_method": client.metadata.token_endpoint_auth_method,
        "trust": client.trust,
        "source": client.source.value,
        "accepted": verdict.accepted,
        "reason": verdict.reason,
        "detail": verdict.detail,
        "subject": _subject_members(verdict),
    }


def _subject_members(verdict: "Verdict") -> dict[str, object] | None:
    expected, mismatch = verdict.expected, verdict.mismatch
    if expected is None:
        return None
    found = None if mismatch is None else list(mismatch.found)
    return {"type": expected.type.value, "expected": expected.text, "matches": mismatch is None, "found": found}


def _say_facts(facts: Mapping[str, Any]) -> None:
    days = facts["days_left"]
    left = f"{days} days left" if days >= 0 else "expired"
    _say_field("subject", facts["subject"] or "(empty)")
    _say_field("issuer", facts["issuer"] or "(empty)")
    _say_field("serial number", facts["serial_number"])
    _say_field("valid", f"{facts['not_before']} to {facts['not_after']} ({left})")
    for name in facts["subject_alternative_names"]:
        _say_field("alternative name", f"{name['type']}: {name['value']}")
    if facts["spiffe"] is not None:
        _say_field("SPIFFE ID", facts["spiffe"].get("spiffe_id") or f"none: {facts['spiffe']['problem']}")
    _say_field("key", f"{facts['key']} ({facts['key_strength']} bits of security)")
    _say_field("key usage", _usages(facts["key_usage"]))
    _say_field("extended key usage", _usages(facts["extended_key_usage"]))
    _say_field("authority", "yes: a CA's certificate is never accepted as a client's" if facts["is_ca"] else "no")
    _say_field("signature hash", facts["signature_hash"] or "none of its own")
    _say_field("x5t#S256", facts["x5t#S256"])
    _say_field("SHA-256", facts["sha256"])


def _usages(usages: Sequence[str] | None) -> str:
    return "not restricted" if usages is None else ", ".join(usages) or "none"


def _say_registration(facts: Mapping[str, Any], file: Path) -> None:
    from mtls_as.cli.certificate_facts import toml_assignment

    if facts["jwks"] is not None:
        say()
        say("It signs itself. To register the certificate, and no other:")
        say('  token_endpoint_auth_method = "self_signed_tls_client_auth"')
        say(f"  {toml_assignment('jwks', facts['jwks'])}")
        say(f"or: mtls-as client add --client-id ID --scope SCOPE --certificate {file}")
    elif facts["registrations"]:
        say()
        say("To register a client with one of its names, take one of these lines:")
        for line in facts["registrations"]:
            for name, text in line.items():
                say(f"  {toml_assignment(name, text)}")
        _say_spiffe_registration(facts)
    else:
        say()
        say("It has no name that could be registered.")


def _say_spiffe_registration(facts: Mapping[str, Any]) -> None:
    from mtls_as.cli.certificate_facts import toml_assignment

    if facts["spiffe"] is not None and "spiffe_id" in facts["spiffe"]:
        say("or, for the workload with this X.509-SVID, both of these and no trust:")
        say('  token_endpoint_auth_method = "spiffe_x509"')
        say(f"  {toml_assignment('spiffe_id', facts['spiffe']['spiffe_id'])}")


def _say_vouchings(vouchings: "Sequence[Vouching]", *, all_of_them: bool, at: datetime) -> None:
    """What trust domains say. Unless all are asked for, those that have no path at all are only counted."""
    from mtls_as.cli.vouching import vouching_lines
    from mtls_as.rfc.refusal import Refusal

    shown = [each for each in vouchings if all_of_them or each.reason is not Refusal.UNTRUSTED_ISSUER]
    if not vouchings:
        return
    say()
    say("Trust domains:")
    for vouching in shown:
        for line in vouching_lines(vouching, at=at):
            say(f"  {line}")
    if len(shown) < len(vouchings):
        say(f"  {len(vouchings) - len(shown)} without a path to it, untrusted_issuer")


def _say_verdicts(verdicts: "Sequence[Verdict]") -> None:
    say()
    say("Clients:" if verdicts else "There are no clients.")
    for verdict in verdicts:
        name = verdict.client.client_id
        if verdict.accepted:
            say(f"  {name}: accepted")
            continue
        say(f"  {name}: refused, {verdict.reason}: {verdict.detail}")
        for line in _subject_lines(verdict):
            say(f"    {line}")


def _subject_lines(verdict: "Verdict") -> list[str]:
    """How the subject compares, where the reason of the refusal does not say so in full."""
    from mtls_as.rfc.refusal import Refusal

    expected, mismatch = verdict.expected, verdict.mismatch
    if expected is None:
        return []
    if mismatch is None:
        return [f"{expected.type}: '{expected.text}' matches"]
    # A difference within one RDN is easier to see against the whole names.
    whole = [f"expected {expected.text}", *(f"found    {name}" for name in mismatch.found)]
    names = whole if mismatch.difference and mismatch.difference.position else []
    return names if verdict.reason is Refusal.SUBJECT_MISMATCH else [str(mismatch), *names]


def _say_field(label: str, value: str) -> None:
    say(f"  {label:{_LABEL_WIDTH}}{value}")
