"""Limits on requests, at the place that every endpoint for clients passes: where its certificate comes from.

The body was read by then, since an answer before its end would cost a connection; nothing of it was parsed.
"""

from dataclasses import dataclass

from mtls_as.http.certificate import CertificateSource, Scope, forwarded_for
from mtls_as.pki.presented import PresentedCertificate
from mtls_as.server.events import RequestEvent
from mtls_as.server.limits import RequestLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitedCertificate:
    """The certificates of a listener whose peers are the clients themselves."""

    source: CertificateSource
    limits: RequestLimits

    def __call__(self, scope: Scope, event: RequestEvent) -> PresentedCertificate | None:
        """As `source`. Raises `OAuthError` `temporarily_unavailable` for a request too many."""
        event.counted_as = key = self.limits.admit(event.endpoint, event.peer)
        certificate = self.source(scope, event)
        self.limits.refuse_penalised(event.endpoint, key, certificate)
        return certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitedForwardedCertificate:
    """The certificates of a listener for a proxy, whose own address says nothing of its clients."""

    source: CertificateSource
    limits: RequestLimits
    trusts_address: bool
    """Whether the last address of `X-Forwarded-For` is what the proxy says. Else nothing is counted by address."""

    def __call__(self, scope: Scope, event: RequestEvent) -> PresentedCertificate | None:
        """As `source`, which makes sure that the proxy sent it. Raises `OAuthError` as `LimitedCertificate`."""
        certificate = self.source(scope, event)
        if self.trusts_address:
            event.counted_as = self.limits.admit(event.endpoint, _last_address(scope))
        self.limits.refuse_penalised(event.endpoint, event.counted_as, certificate)
        return certificate


def _last_address(scope: Scope) -> str | None:
    """What the hop before the proxy said stands before it, and is for anybody to write."""
    return (forwarded_for(scope) or "").rpartition(",")[2].strip() or None
