"""`mtls-as revoke`: ends tokens before their time."""

import asyncio
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

import click

from mtls_as.cli.options import config_option
from mtls_as.cli.output import format_time, say

if TYPE_CHECKING:
    from mtls_as.config import Settings
    from mtls_as.server.revocation import Revocation

_FOR_WHOM: Final = "Introspection says so at once; who verifies JWTs without it accepts them until they expire."


def _time(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """RFC 3339 text, or `now`, in epoch seconds; no time that is still to come."""
    now = time.time()
    if value == "now":
        return now
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise click.BadParameter(f"{value} is neither now nor a time such as 2026-01-31T12:00:00Z")
    if at.timestamp() > now:
        raise click.BadParameter(f"{value} is still to come: tokens issued until then would be worth nothing")
    return at.timestamp()


_before_option = click.option(
    "--before",
    callback=_time,
    default="now",
    metavar="TIME",
    help="Only tokens issued before: 2026-01-31T12:00:00Z, or now, the default.",
)


@click.group()
def revoke() -> None:
    """Revoke access tokens: one, or those of a client, of a certificate, or before a time.

    Every running server takes it over within about a second. Clients can fetch new tokens: to keep one out, disable it.
    """


@revoke.command(short_help="Revoke one token.")
@click.option(
    "--token",
    "file",
    type=click.File(),
    default="-",
    metavar="FILE",
    help="A file with the token; by default standard input.",
)
@click.option("--id", "token_id", metavar="JTI", help="Instead of the token its jti: the token_id of the server's log.")
@config_option
def token(file: TextIO, token_id: str | None, config: Path) -> None:
    """Revoke one token, of either form. It comes on standard input, so that no other user sees it, or by its jti.

    \b
    Example:
      mtls-as revoke token < token
    """
    from mtls_as.config import load_settings

    settings = load_settings(config)
    if token_id is None:
        revocation = asyncio.run(_read_token(settings, file.read().strip(), at=time.time()))
    else:
        revocation = _by_id(token_id, at=time.time())
    asyncio.run(_store(settings, revocation))
    say(f"The token {revocation.value} is revoked. {_FOR_WHOM}")


@revoke.command(short_help="Revoke the tokens of a client.")
@click.argument("client_id")
@_before_option
@config_option
def client(client_id: str, before: float, config: Path) -> None:
    """Revoke all tokens that were issued to a client.

    \b
    Example:
      mtls-as revoke client reports
    """
    from mtls_as.config import load_settings
    from mtls_as.server.revocation import Revocation

    settings = load_settings(config)
    asyncio.run(_require_client(settings, client_id))
    asyncio.run(_store(settings, Revocation.of_client(client_id, before=before)))
    say(f"The tokens of {client_id} issued before {format_time(before)} are revoked. {_FOR_WHOM}")


@revoke.command(short_help="Revoke the tokens bound to a certificate.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--thumbprint", metavar="X5T", help="Instead of the certificate its x5t#S256, as in tokens and the log.")
@_before_option
@config_option
def certificate(file: Path | None, thumbprint: str | None, before: float, config: Path) -> None:
    """Revoke all tokens that are bound to a certificate: the first one of a PEM file, or a DER file.

    The certificate itself is revoked by its CA.

    \b
    Example:
      mtls-as revoke certificate stolen.pem
    """
    from mtls_as.config import load_settings
    from mtls_as.server.revocation import Revocation

    settings = load_settings(config)
    if (file is None) == (thumbprint is None):
        raise click.UsageError("give the certificate's file, or its --thumbprint")
    x5t = _checked(thumbprint) if file is None else _thumbprint(file)
    asyncio.run(_store(settings, Revocation.of_certificate(x5t, before=before)))
    say(f"The tokens bound to {x5t} and issued before {format_time(before)} are revoked. {_FOR_WHOM}")


@revoke.command("before", short_help="Revoke all tokens issued before a time.")
@click.argument("before", callback=_time, metavar="TIME")
@config_option
def before_(before: float, config: Path) -> None:
    """Revoke all tokens that were issued before a time: 2026-01-31T12:00:00Z, or now.

    If the signing key has leaked, this is not enough: mtls-as keys rotate --leaked.

    \b
    Example:
      mtls-as revoke before now
    """
    from mtls_as.config import load_settings
    from mtls_as.server.revocation import Revocation

    settings = load_settings(config)
    asyncio.run(_store(settings, Revocation.of_everything(before=before)))
    say(f"All tokens issued before {format_time(before)} are revoked. {_FOR_WHOM}")


async def _store(settings: "Settings", revocation: "Revocation") -> None:
    from mtls_as.cli.stored import opened_storage

    async with opened_storage(settings) as storage:
        await storage.revocations.add(revocation)


async def _read_token(settings: "Settings", text: str, *, at: float) -> "Revocation":
    """The end of a token that the server of this configuration issued."""
    from mtls_as.cli.stored import opened_storage
    from mtls_as.server.issued_tokens import TokenNotActive, TokenReader
    from mtls_as.server.revocation import Revocation
    from mtls_as.server.signing_keys import SigningKeys
    from mtls_as.wiring.foundation import Current

    async with opened_storage(settings) as storage:
        keys = Current(SigningKeys(await storage.signing_keys.all()))
        reader = TokenReader(issuer=settings.issuer, signing_keys=keys, opaque_tokens=storage.opaque_tokens)
        try:
            found = await reader.read(text, at=at)
        except TokenNotActive as reason:
            raise click.ClickException(f"no token of this server: {reason.detail}") from None
    if at >= found.expires_at:
        raise click.ClickException(f"the token {found.token_id} has expired at {format_time(found.expires_at)}")
    return Revocation.of_token(found.token_id, expires_at=found.expires_at)


def _by_id(token_id: str, *, at: float) -> "Revocation":
    """The end of a token of which nothing else is known: it may live for as long as any."""
    from mtls_as.server.revocation import LONGEST_LIFE, Revocation

    if not 0 < len(token_id) <= 256:
        raise click.ClickException("a jti has 1 to 256 characters")
    return Revocation.of_token(token_id, expires_at=at + LONGEST_LIFE)


async def _require_client(settings: "Settings", client_id: str) -> None:
    from mtls_as.cli.stored import opened_storage

    if any(client.client_id == client_id for client in settings.clients):
        return
    async with opened_storage(settings) as storage:
        if await storage.clients.find(client_id) is None:
            message = f"no client {client_id} is registered; the tokens of a client that was deleted are not active"
            raise click.ClickException(message)


def _thumbprint(file: Path) -> str:
    from mtls_as.cli.files import read_certificates
    from mtls_as.rfc.rfc8705_mtls import x5t_s256

    return x5t_s256(read_certificates(file)[0].der)


def _checked(thumbprint: str | None) -> str:
    from mtls_as.rfc.rfc8705_mtls import is_thumbprint

    if thumbprint is None or not is_thumbprint(thumbprint):
        raise click.ClickException(
            "--thumbprint: an x5t#S256 is the SHA-256 of a certificate, 43 characters of base64url"
        )
    return thumbprint
