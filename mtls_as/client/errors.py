"""What can go wrong for a client. Texts of the server are cut and escaped; no token is ever in a message."""


class ClientError(Exception):
    """The base of all errors of this package."""


class ClientConfigurationError(ClientError):
    """A file or setting is unusable. The message names it and says what is wrong."""


class AuthorizationServerError(ClientError):
    """The authorization server cannot be reached, or answers nonsense. Trying again later may help."""


class TokenRequestError(ClientError):
    """The authorization server refused (RFC 6749 §5.2). `code` is the OAuth error, `description` may be empty."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}" if description else code)
        self.code = code
        self.description = description


class DiscoveryError(ClientError):
    """A resource does not say, or says in a way that is not to be believed, whose tokens it takes (RFC 9728)."""


class InsecureRequest(ClientError):  # noqa: N818 # names what was prevented
    """The request would have sent its token over something else than https. Nothing was sent."""
