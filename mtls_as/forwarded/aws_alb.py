"""`aws-alb`: percent-encoded PEM in which `+`, `=` and `/` stay as they are.

Elastic Load Balancing, Application Load Balancers, "Mutual authentication": in passthrough mode
`X-Amzn-Mtls-Clientcert` holds the whole chain that the client sent; in verify mode `X-Amzn-Mtls-Clientcert-Leaf` holds
the leaf. The former is read unless the latter is configured, and one that comes where the other should is refused: what
happens to the header of the mode that is not on, if a client sends it, is documented nowhere.
"""

from typing import Final

from mtls_as.forwarded.encodings import from_percent_encoded_pem
from mtls_as.forwarded.preset import Preset


def _decode(value: bytes, _chain: bytes) -> tuple[bytes, ...]:
    return from_percent_encoded_pem(value)


PRESET: Final = Preset(headers=("x-amzn-mtls-clientcert", "x-amzn-mtls-clientcert-leaf"), decode=_decode)
