"""The administration of a running server, over its admin listener: with a token bound to the own certificate."""

import asyncio
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx

from mtls_as.cli.files import FileError, read_file
from mtls_as.client import MutualTLSAuth, TokenRequestError
from mtls_as.remote.bounded import Answer, AnswerError, build_request, send
from mtls_as.server.endpoints.admin.routes import AdminRoute

_ANSWER_SECONDS: Final = 60.0
_MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
_PROFILE_KEYS: Final = ("server", "issuer", "client_id", "certificate", "private_key", "ca", "resource")
_FILES: Final = ("certificate", "private_key", "ca")
_OPTIONS: Final = {"issuer": "--issuer", "client_id": "--as", "certificate": "--cert", "private_key": "--key"}
_CONFLICT: Final = 409
_TOLD: Final = frozenset({"invalid_request", "invalid_client_metadata", "insufficient_scope"})
"""Errors whose descriptions are for the operator, in the words that a command on the database has, too."""


class RemoteError(Exception):
    """The server did not do what was asked; the message says why, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where the server is, and as whom to speak to it."""

    server: str
    """The URL of the admin listener."""
    issuer: str
    client_id: str
    certificate: Path
    private_key: Path
    ca: Path | None = None
    """The only CAs to trust, both for the issuer and for the admin listener."""
    resource: str | None = None
    """The resource of the administration, where its scopes belong to several."""

    def call(
        self,
        route: AdminRoute,
        *,
        parameters: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """As `mtls_as.cli.administration.Administration.call`. Raises `RemoteError`, `ClientError`.

        A token with the scope that allows least is tried first, and then one with all that the client may have: what an
        operation is about may need more.
        """
        path = "/".join(
            _escaped((parameters or {})[part[1:-1]]) if part.startswith("{") else part for part in route.path.split("/")
        )
        url = self.server.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        try:
            json_body = None if members is None else json.dumps(members).encode()
            request = build_request(route.method, url, json=json_body, form=form)
            answer = asyncio.run(_send(self._authenticator(route), request))
            if answer.status == httpx.codes.FORBIDDEN:
                answer = asyncio.run(_send(self._holding(None), request))
            return _read(url, answer)
        except AnswerError as error:
            raise RemoteError(f"{url}: {error}") from None

    def _authenticator(self, route: AdminRoute) -> MutualTLSAuth:
        """Holds a token for the operation, with the scope that allows least of those that it can have."""
        for scope in route.needs:
            found = self._holding(scope)
            try:
                found.token()
            except TokenRequestError as error:
                if error.code != "invalid_scope":
                    raise
            else:
                return found
        raise RemoteError(f"the client {self.client_id} does not have the scope {' or '.join(route.needs)}")

    def _holding(self, scope: str | None) -> MutualTLSAuth:
        return MutualTLSAuth(
            issuer=self.issuer,
            client_id=self.client_id,
            certificate=self.certificate,
            private_key=self.private_key,
            ca=self.ca,
            scope=scope,
            resource=self.resource,
        )


def connection(server: str, **options: str | Path | None) -> Connection:
    """The connection that the options of a command tell of; `server` is a URL, or a file that has all the rest too.

    Options win over the file. Raises `RemoteError`, `FileError`.
    """
    found: dict[str, Any] = {"server": server} if "://" in server else _read_profile(Path(server))
    found |= {name: value for name, value in options.items() if value is not None}
    missing = [option for name, option in _OPTIONS.items() if name not in found]
    if missing:
        raise RemoteError(f"with --server go {', '.join(missing)}, or a file that says it; see docs/administration.md")
    if not str(found.get("server", "")).startswith("https://"):
        raise RemoteError(f"{server}: server must be an https URL")
    return Connection(**found)


def _read_profile(file: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(read_file(file).decode("utf-8")).get("admin")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{file}: is not TOML: {error}") from None
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise FileError(f"{file}: has no table [admin] of strings")
    if unknown := [key for key in table if key not in _PROFILE_KEYS]:
        raise FileError(f"{file}: admin.{unknown[0]} is unknown; there are {', '.join(_PROFILE_KEYS)}")
    return {key: file.parent / value if key in _FILES else value for key, value in table.items()}


def _escaped(part: str) -> str:
    """Also dots, which alone would mean another path."""
    return quote(part, safe="").replace(".", "%2E")


async def _send(authenticator: MutualTLSAuth, request: httpx.Request) -> Answer:
    context = authenticator.ssl_context()
    async with httpx.AsyncClient(
        auth=authenticator, verify=context, trust_env=False, follow_redirects=False, timeout=_ANSWER_SECONDS
    ) as client:
        return await send(client, request, seconds=_ANSWER_SECONDS, limit=_MAX_ANSWER_BYTES)


def _read(url: str, answer: Answer) -> dict[str, Any]:
    if answer.status == httpx.codes.NO_CONTENT:
        return {}
    document = answer.json()
    if not isinstance(document, dict):
        raise AnswerError("the answer is not an object")
    if "error" in document:
        code, text = document["error"], str(document.get("error_description", ""))
        raise RemoteError(text if code in _TOLD else f"{url}: {code}: {text}")
    if answer.status >= httpx.codes.BAD_REQUEST and answer.status != _CONFLICT:
        raise AnswerError(f"status {answer.status}")
    return document
