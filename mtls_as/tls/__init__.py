"""How bytes arrive: TLS by OpenSSL, Hypercorn's HTTP/1.1 and HTTP/2 on top, listeners and workers.

This layer asks for certificates, has the possession of their keys proved, and says so in `scope["extensions"]`. Whom to
trust is decided elsewhere.
"""

from mtls_as.tls.credentials import ServerCredentials, TLSConfigurationError
from mtls_as.tls.endpoint import Timeouts
from mtls_as.tls.listeners import Listener, bind_listeners, format_address
from mtls_as.tls.population import Limits, Population
from mtls_as.tls.process import settle_memory
from mtls_as.tls.server import PrepareCredentials, serve_listeners
from mtls_as.tls.serving import serve
from mtls_as.tls.systemd import inherited_sockets, notify
from mtls_as.tls.workers import holding_signals, run_workers, shutdown_on_signals, take_signals

__all__ = [
    "Limits",
    "Listener",
    "Population",
    "PrepareCredentials",
    "ServerCredentials",
    "TLSConfigurationError",
    "Timeouts",
    "bind_listeners",
    "format_address",
    "holding_signals",
    "inherited_sockets",
    "notify",
    "run_workers",
    "serve",
    "serve_listeners",
    "settle_memory",
    "shutdown_on_signals",
    "take_signals",
]
