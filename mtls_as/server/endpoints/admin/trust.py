"""The trust domains in force, for operators: their anchors, and what is known of revocation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mtls_as.pki.revocation_policy import ListStatus
from mtls_as.pki.trust_domains import TrustDomainSettings
from mtls_as.rfc.rfc3339_time import format_time
from mtls_as.rfc.rfc5280_certificate import Certificate
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.server.endpoints.admin import routes
from mtls_as.server.endpoints.admin.call import AdminCall, AdminResult, Handlers
from mtls_as.server.events import RequestEvent
from mtls_as.server.ports import TrustSource


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAdministration:
    """Shows the trust domains. They change with the configuration alone."""

    settings: Sequence[TrustDomainSettings]
    trust: TrustSource
    lists: Callable[[], Sequence[ListStatus]]
    problems: Callable[[], Sequence[tuple[str, str, str]]]
    """What is wrong with sources of revocation now: domain, file or URL, and the problem."""

    def handlers(self) -> Handlers:
        return {routes.SHOW_TRUST: self.show}

    async def show(self, _call: AdminCall, _event: RequestEvent) -> AdminResult:
        """All of it, of the generation in force."""
        trust, lists, problems = self.trust.current(), self.lists(), self.problems()
        domains = [
            {
                "name": domain.name,
                "anchors": [_anchor(each) for each in trust.anchors.get(domain.name, ())],
                "extended_key_usage": domain.extended_key_usage,
                "minimum_key_strength": domain.minimum_key_strength,
                "revocation": {
                    "sources": list(domain.revocation.lists),
                    "responder": domain.revocation.responder,
                    "fails": domain.revocation.fails,
                    "grace": domain.revocation.grace,
                    "lists": [_list(each) for each in lists if each.domain == domain.name],
                    "problems": [
                        {"source": source, "problem": problem}
                        for name, source, problem in problems
                        if name == domain.name
                    ],
                },
            }
            for domain in self.settings
        ]
        return AdminResult(
            document={"generation": trust.generation, "domains": domains, "warnings": list(trust.warnings)}
        )


def _anchor(certificate: Certificate) -> Mapping[str, object]:
    return {
        "subject": str(certificate.subject),
        "serial_number": f"{certificate.serial_number:x}",
        "x5t#S256": x5t_s256(certificate.der),
        "not_after": format_time(certificate.not_after.timestamp()),
    }


def _list(status: ListStatus) -> Mapping[str, object]:
    return {
        "source": status.source,
        "issuer": status.issuer,
        "number": status.number,
        "is_delta": status.is_delta,
        "entries": status.entries,
        "this_update": format_time(status.this_update.timestamp()),
        "next_update": format_time(status.next_update.timestamp()),
        "is_proven": status.is_proven,
    }
