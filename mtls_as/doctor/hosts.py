"""Whether a certificate is for a host (RFC 9525 §6): DNS names, with a wildcard for the first label, and addresses."""

import ipaddress

from mtls_as.rfc.rfc5280_certificate import Certificate, DNSName, IPName, OtherName


def host_names(certificate: Certificate) -> tuple[str, ...]:
    """The hosts that it is for, wildcards among them; its subject does not count."""
    names = certificate.subject_alternative_names
    return tuple(
        str(name) if isinstance(name, IPName) else name.value if isinstance(name, DNSName) else name.text
        for name in names
        if isinstance(name, DNSName | IPName) or (isinstance(name, OtherName) and name.text.startswith("*."))
    )


def is_for_host(certificate: Certificate, host: str) -> bool:
    """Whether a client that connects to this host takes it."""
    return any(_matches(name, host.rstrip(".").lower()) for name in host_names(certificate))


def _matches(name: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(host)
    except ValueError:
        pass
    first, _, rest = name.lower().partition(".")
    return name.lower() == host or (first == "*" and host.partition(".")[2] == rest and rest != "")
