"""`nginx`: percent-encoded PEM of the leaf.

ngx_http_ssl_module, `$ssl_client_escaped_cert` (since 1.13.5): PEM with everything but the unreserved characters of
RFC 3986 escaped. No variable of nginx holds the intermediates that the client sent. Without a certificate the
variable is empty, and `proxy_set_header` with an empty value removes the header, the client's own included.
"""

from typing import Final

from mtls_as.forwarded.encodings import from_percent_encoded_pem, single
from mtls_as.forwarded.preset import Preset


def _decode(value: bytes, _chain: bytes) -> tuple[bytes, ...]:
    return single(from_percent_encoded_pem(value))


PRESET: Final = Preset(headers=("x-ssl-client-cert",), decode=_decode)
