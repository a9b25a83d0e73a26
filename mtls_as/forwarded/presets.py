"""The presets by the names that a configuration uses."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mtls_as.forwarded import apache, aws_alb, envoy, haproxy, nginx, rfc9440, traefik
from mtls_as.forwarded.preset import Preset

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "rfc9440": rfc9440.PRESET,
        "nginx": nginx.PRESET,
        "apache": apache.PRESET,
        "haproxy": haproxy.PRESET,
        "envoy": envoy.PRESET,
        "traefik": traefik.PRESET,
        "aws-alb": aws_alb.PRESET,
    }
)
