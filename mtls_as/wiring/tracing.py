"""The parts of a traced server in place of those of any other, where the configuration wants traces."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mtls_as.config import ConfigurationError, Problem, Settings
from mtls_as.pki.trust_domains import TrustDomains
from mtls_as.pki.verdicts import Verdict
from mtls_as.remote.propagation import OUTGOING_HEADERS
from mtls_as.storage import Storage
from mtls_as.tls.listeners import ASGIApplication

if TYPE_CHECKING:
    from mtls_as.observability.tracing import Tracing

_REPOSITORIES: Final = (
    "clients", "signing_keys", "accepted_paths", "used_once", "revocations", "opaque_tokens", "registrations",
)  # fmt: skip

_T = TypeVar("_T")


def open_tracing(settings: Settings) -> "Tracing | None":
    """What makes spans; None where nobody wants them. Raises `ConfigurationError` without the extra `otel`."""
    wanted = settings.tracing
    if wanted is None:
        return None
    try:
        from mtls_as.observability.tracing import Tracing
    except ImportError:
        problem = Problem("tracing", "needs OpenTelemetry: pip install 'mtls-as[otel]'")
        raise ConfigurationError.of(settings.path, [problem]) from None
    return Tracing(
        endpoint=wanted.endpoint,
        ca=wanted.ca,
        service_name=wanted.service_name,
        sample=wanted.sample,
        outgoing=OUTGOING_HEADERS,
    )


def trace_storage(storage: Storage) -> None:
    """Give each call of the storage a span, within requests."""
    from mtls_as.observability.tracing import traced_calls

    for name in _REPOSITORIES:
        setattr(storage, name, traced_calls(getattr(storage, name), f"storage {name}"))


def with_spans(tracing: "Tracing | None", target: _T, **spans: str) -> _T:
    """The target itself, or where there is tracing something that stands for it and has spans for these calls."""
    if tracing is None:
        return target
    from mtls_as.observability.tracing import traced

    return traced(target, **spans)


def with_request_spans(
    tracing: "Tracing | None", applications: Mapping[str, ASGIApplication]
) -> Mapping[str, ASGIApplication]:
    """The applications of listeners with a span for each request, but for the one of the operators.

    The direct lane answers none of their requests any more: all come by way of ASGI.
    """
    if tracing is None:
        return applications
    return {
        name: app if name == "admin" else tracing.application(app, listener=name) for name, app in applications.items()
    }


def traced_trust_domains() -> type[TrustDomains]:
    """Trust domains that tell what of a verification takes its time."""
    from mtls_as.observability.tracing import spanning

    class TracedTrustDomains(TrustDomains):
        def _find_path(self, *arguments: Any, at: datetime) -> Verdict:  # noqa: ANN401 # as the parent
            with spanning("path verification"):
                return super()._find_path(*arguments, at=at)

        async def _bring_revocation(self, *arguments: Any, at: datetime) -> None:  # noqa: ANN401 # as the parent
            with spanning("revocation check"):
                await super()._bring_revocation(*arguments, at=at)

    return TracedTrustDomains
