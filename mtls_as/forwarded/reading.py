"""From the headers of a request to the chain that the proxy forwarded."""

from collections.abc import Sequence

from mtls_as.forwarded.fault import ForwardedCertificateError, ForwardingFault
from mtls_as.forwarded.preset import Preset
from mtls_as.forwarded.presets import PRESETS


def read_forwarded(
    headers: Sequence[tuple[bytes, bytes]], *, preset: str, header: str | None = None, chain_header: str | None = None
) -> tuple[bytes, ...] | None:
    """The chain that the proxy forwarded, DER, leaf first; None if it says that the client presented none.

    `headers` are those of the ASGI scope, names in lower case. `header` and `chain_header` replace the preset's names,
    in any case. Call this only for a request whose hop is authenticated, and only if that hop overwrites these headers.
    The chain proves nothing by itself: verify it as one from a handshake.

    Raises `ForwardedCertificateError` for whatever the headers hold; `ValueError` for an unknown preset, or a chain
    header where the preset has none, which are mistakes of the configuration.
    """
    rules = PRESETS.get(preset)
    if rules is None:
        raise ValueError(f"the preset is one of {', '.join(PRESETS)}")
    if chain_header is not None and not rules.takes_chain_header:
        raise ValueError(f"the preset {preset} has no chain header")
    certificate = _value(headers, *_names(rules, header))
    chain_name = chain_header or rules.chain_header
    chain = _value(headers, chain_name.lower()) if chain_name else b""
    return rules.parse((certificate, chain)) or None


def _names(rules: Preset, header: str | None) -> tuple[str, ...]:
    """The name of the header to read, then those that must not come along."""
    name = (header or rules.headers[0]).lower()
    siblings = rules.headers if name in rules.headers else ()
    return (name, *(sibling for sibling in siblings if sibling != name))


def _value(headers: Sequence[tuple[bytes, bytes]], name: str, *siblings: str) -> bytes:
    """The value of a header, empty if it is absent. Never the first of two."""
    names = {each.encode() for each in (name, *siblings)}
    found = [(key, value) for key, value in headers if key in names]
    if len(found) > 1:
        raise ForwardedCertificateError(ForwardingFault.REPEATED_HEADER, f"{name} came more than once")
    if not found:
        return b""
    key, value = found[0]
    if key != name.encode():
        raise ForwardedCertificateError(
            ForwardingFault.REPEATED_HEADER, f"another header came than {name}, which is configured"
        )
    return value
