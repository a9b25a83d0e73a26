"""The metadata document (RFC 8414), derived from what is switched on."""

from dataclasses import dataclass

from mtls_as.rfc.rfc8414_metadata import authorization_server_metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataEndpoint:
    """Describes one server. `public_url` is the address of the listener that asks for no certificate, if there is one."""

    issuer: str
    mtls_url: str
    public_url: str | None
    grant_types: tuple[str, ...]
    scopes: tuple[str, ...]

    def answer(self) -> dict[str, object]:
        """The metadata document. With a public listener, clients find the mutual-TLS endpoints as aliases (RFC 8705 §5)."""
        token_endpoint = f"{self.mtls_url}/token"
        return authorization_server_metadata(
            issuer=self.issuer,
            endpoints={"token_endpoint": token_endpoint, "jwks_uri": f"{self.public_url or self.mtls_url}/jwks"},
            aliases={"token_endpoint": token_endpoint} if self.public_url else None,
            grant_types=self.grant_types,
            token_endpoint_auth_methods=("tls_client_auth", "self_signed_tls_client_auth"),
            scopes=self.scopes,
            certificate_bound=True,
        )

