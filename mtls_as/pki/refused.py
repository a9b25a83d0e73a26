"""Why a path is refused: for one certificate of it, and for the whole."""

from mtls_as.rfc.refusal import Refusal


class PathError(Exception):
    """A candidate path is not valid, or breaks the policy of its domain."""

    def __init__(self, refusal: Refusal, depth: int, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal
        self.depth = depth
        """Which certificate of the path is at fault, 0 for the leaf."""
        self.reason = reason


class CertificateRefused(Exception):  # noqa: N818 # the outcome of a decision, told as such
    """The certificate is not trusted. `refusal` and `detail` are for the log, never for the client."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(f"{refusal}: {detail}")
        self.refusal = refusal
        self.detail = detail
