"""`[limits]`: how much one caller may use, and how much of everything there may be at a time."""

import ipaddress
from types import MappingProxyType
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from mtls_as.server.limits import EndpointLimits, LimitSettings
from mtls_as.server.rates import Rate
from mtls_as.tls import Limits

EndpointName = Literal["token", "introspection", "revocation", "registration"]
_ENDPOINTS: Final[tuple[EndpointName, ...]] = ("token", "introspection", "revocation", "registration")

PRIVATE_NETWORKS: Final = (
    "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10",
    "::1/128", "fc00::/7", "fe80::/10",
)  # fmt: skip
"""Addresses that no stranger comes from (RFC 1918, RFC 4193, RFC 6598), but balancers and proxies do."""


def check_network(text: str) -> str | None:
    """A network of addresses."""
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        return f"must be a network, such as 192.0.2.0/24: {error}"
    return None


PerSecond = Annotated[float, Meta(ge=0, le=1_000_000)]
Burst = Annotated[float, Meta(ge=1, le=1_000_000)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class _Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: unknown keys are errors."""


class RatesTable(_Table, frozen=True):
    client_rate: PerSecond = 0.0
    client_burst: Burst = 100.0
    address_rate: PerSecond = 1000.0
    address_burst: Burst = 10000.0


class LimitsTable(_Table, frozen=True):
    connections: Count = 20_000
    connections_per_address: Count = 1_000
    handshakes: Count = 4_000
    admin_connections: Count = 100
    requests: dict[EndpointName, RatesTable] = field(default_factory=dict)
    failure_rate: PerSecond = 1.0
    failure_burst: Burst = 200.0
    penalty: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    exempt_networks: list[Annotated[str, check_network]] = field(default_factory=lambda: list(PRIVATE_NETWORKS))
    trust_forwarded_for: bool = False


def limit_settings(table: LimitsTable) -> LimitSettings:
    """The settings of a table; a rate of 0 is no limit."""
    return LimitSettings(
        endpoints=MappingProxyType({name: _endpoint(table.requests.get(name, RatesTable())) for name in _ENDPOINTS}),
        failures=_rate(table.failure_rate, table.failure_burst),
        penalty=table.penalty,
        exempt=tuple(map(ipaddress.ip_network, table.exempt_networks)),
    )


def connection_limits(table: LimitsTable) -> Limits:
    """The bounds on connections, of each process."""
    return Limits(
        connections=table.connections,
        handshakes=table.handshakes,
        connections_of_address=table.connections_per_address,
    )


def _endpoint(table: RatesTable) -> EndpointLimits:
    return EndpointLimits(
        client=_rate(table.client_rate, table.client_burst), address=_rate(table.address_rate, table.address_burst)
    )


def _rate(per_second: float, burst: float) -> Rate | None:
    return Rate(per_second=per_second, burst=burst) if per_second else None
