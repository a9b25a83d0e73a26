"""What commands do for an operator: on the database, or by a running server. Both ways are one administration."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

import click

if TYPE_CHECKING:
    from mtls_as.cli.remote import Connection
    from mtls_as.server.endpoints.admin.routes import AdminRoute

_PAGE = 1_000


class Administration(Protocol):
    """Has an operation done, and gives what the OpenAPI description says; an empty object for nothing."""

    def call(
        self,
        route: "AdminRoute",
        *,
        parameters: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The body is either `members`, sent as JSON, or a `form`."""
        ...


@dataclass(frozen=True, slots=True)
class OnTheDatabase:
    """The administration of whoever can read the configuration and the database that it names."""

    config: Path

    def call(
        self,
        route: "AdminRoute",
        *,
        parameters: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """As `Administration.call`. Raises `AdministrationError`, `StorageError`, `ConfigurationError`."""
        from mtls_as.rfc.rfc6749_framework import OAuthError
        from mtls_as.server.endpoints.admin.call import AdministrationError

        body = (
            urlencode(form).encode() if form is not None else b"" if members is None else json.dumps(members).encode()
        )
        try:
            return asyncio.run(self._perform(route, parameters or {}, urlencode(query or {}).encode(), body))
        except AdministrationError:
            raise
        except OAuthError as error:
            raise click.ClickException(error.detail) from None

    async def _perform(
        self, route: "AdminRoute", parameters: Mapping[str, str], query: bytes, body: bytes
    ) -> dict[str, Any]:
        from mtls_as.cli.stored import opened_storage
        from mtls_as.config import load_settings
        from mtls_as.wiring.administration import call_on_the_machine, perform

        settings = load_settings(self.config)
        call = call_on_the_machine(parameters=parameters, query=query, body=body)
        async with opened_storage(settings) as storage:
            result = await perform(settings, storage, route, call)
        return dict(result.document or {})


def administration(config: Path, server: "Connection | None") -> Administration:
    """By a server, if the command was told which; else on the database of the configuration."""
    return OnTheDatabase(config) if server is None else server


def every(
    found: Administration,
    route: "AdminRoute",
    name: str,
    query: Mapping[str, str] | None = None,
    *,
    most: int | None = None,
) -> list[dict[str, Any]]:
    """The items of all pages of a listing, or the first `most` of them."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        limit = _PAGE if most is None else min(_PAGE, most - len(items))
        page = found.call(route, query={**(query or {}), "limit": str(limit), **cursor})
        items += page[name]
        if "next_cursor" not in page or (most is not None and len(items) >= most):
            return items
        cursor = {"cursor": page["next_cursor"]}
