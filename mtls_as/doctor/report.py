"""All findings in their order, and their form for machines."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from mtls_as.doctor.checks.client_certificate import client_certificate_findings
from mtls_as.doctor.checks.clock import clock_finding
from mtls_as.doctor.checks.metadata import metadata_findings
from mtls_as.doctor.checks.network import network_findings
from mtls_as.doctor.checks.own import own_findings
from mtls_as.doctor.checks.resource import resource_findings
from mtls_as.doctor.checks.server_certificate import server_certificate_findings
from mtls_as.doctor.checks.tls import tls_findings
from mtls_as.doctor.checks.token import token_findings
from mtls_as.doctor.findings import Finding, Place, Status, Step
from mtls_as.doctor.observations import Observations, ServerObservation
from mtls_as.rfc.rfc3986_uri import https_origin, is_https_url

VERSION = 1
"""Of the form for machines; new members may come without a new version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found at a URL."""

    seen: Observations
    findings: tuple[Finding, ...]

    @property
    def is_good(self) -> bool:
        """Whether nothing failed. Warnings are no failures, and neither is what was not looked at."""
        return not any(finding.status is Status.FAILURE for finding in self.findings)

    def counts(self) -> dict[Status, int]:
        """How many findings have each status."""
        found = Counter(finding.status for finding in self.findings)
        return {status: found[status] for status in Status}

    def members(self) -> dict[str, Any]:
        """The report, JSON types only."""
        return {
            "version": VERSION,
            "url": self.seen.url,
            "issuer": self.seen.issuer,
            "at": f"{self.seen.at:%Y-%m-%dT%H:%M:%SZ}",
            "ok": self.is_good,
            "counts": {status.value: count for status, count in self.counts().items()},
            "checks": [_finding(finding) for finding in self.findings],
        }


def examine(seen: Observations) -> Report:
    """Judge what was seen: the client's own files, each server, the issuer's metadata, the token, the resource."""
    findings = own_findings(seen.own, seen.at)
    for place in (Place.ISSUER, Place.TOKEN_ENDPOINT):
        findings += _server(seen, place)
        if place is Place.ISSUER and (seen.issuer is not None or seen.resource is not None):
            findings += metadata_findings(seen)
    findings += token_findings(seen)
    findings += _server(seen, Place.RESOURCE)
    findings += resource_findings(seen)
    return Report(seen=seen, findings=tuple(findings))


def _server(seen: Observations, place: Place) -> list[Finding]:
    server = seen.server(place)
    if server is None:
        return []
    findings = network_findings(server) + tls_findings(server, seen.libraries)
    if server.handshake is None:
        return findings
    findings += server_certificate_findings(server, seen.trust_anchors, seen.ca_file, seen.at)
    findings += client_certificate_findings(server, seen.own, has_aliases=_has_alias(seen, server))
    if server.probe is not None:
        findings.append(clock_finding(server))
    return findings


def _has_alias(seen: Observations, server: ServerObservation) -> bool:
    """Whether clients with certificates go elsewhere for their tokens."""
    metadata = seen.metadata.content if seen.metadata is not None else None
    aliases = metadata.get("mtls_endpoint_aliases") if isinstance(metadata, dict) else None
    alias = aliases.get("token_endpoint") if isinstance(aliases, dict) else None
    if server.place is not Place.ISSUER or not isinstance(alias, str) or not is_https_url(alias):
        return False
    return is_https_url(server.url) and https_origin(alias) != https_origin(server.url)


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "place": finding.place.value,
        "status": finding.status.value,
        "seen": finding.seen,
        "details": list(finding.details),
        "next": [_step(step) for step in finding.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    return {"who": step.who.value, "what": step.what, "lines": list(step.lines)}
