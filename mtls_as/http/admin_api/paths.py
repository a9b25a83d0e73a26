"""Paths as they were sent, so that an escaped slash stays part of a name."""

from collections.abc import Awaitable, Callable
from typing import Any

Application = Callable[[Any, Any, Any], Awaitable[None]]


class UndecodedPaths:
    """ASGI middleware for an application that finds routes by the path as it was sent, and decodes names itself."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 # as ASGI applications are
        """Pass on, with the raw path in the place of the decoded one."""
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].decode("ascii", "replace")}
        await self._app(scope, receive, send)
