"""What an application offers beside ASGI, so that its hot requests are answered in one step: see `direct_lane`."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol


class DirectAnswer(Protocol):
    """A whole answer. Its headers hold the length of the body, and neither `Date` nor `Connection`."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def body(self) -> bytes: ...


DirectEndpoint = Callable[[Mapping[str, Any], bytes | None], Coroutine[Any, Any, DirectAnswer]]
"""Answers a request from its ASGI scope and its whole body, or None for a body that did not come in time."""


class DirectAnswers(Protocol):
    """What of an application can be had without ASGI: see `mtls_as.tls.direct_lane`."""

    @property
    def max_body(self) -> int:
        """Bytes. Longer bodies go the way of ASGI."""
        ...

    @property
    def body_timeout(self) -> float:
        """Seconds from a request's head to the end of its body."""
        ...

    def direct(self, method: bytes, target: bytes) -> DirectEndpoint | None:
        """What answers a request, or None for one that ASGI is to answer."""
        ...
