"""`mtls-as revoke`: ends tokens before their time."""

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from mtls_as.cli.administration import administration
from mtls_as.cli.options import config_option, server_options
from mtls_as.cli.output import say

if TYPE_CHECKING:
    from mtls_as.cli.remote import Connection

_FOR_WHOM: Final = "Introspection says so at once; who verifies JWTs without it accepts them until they expire."


def _time(_ctx: click.Context, _param: click.Parameter, value: str) -> float | None:
    """RFC 3339 text in epoch seconds, no time that is still to come; None for `now`, which the server knows better."""
    now = time.time()
    if value == "now":
        return None
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
@server_options
def token(file: TextIO, token_id: str | None, config: Path, server: "Connection | None") -> None:
    """Revoke one token, of either form. It comes on standard input, so that no other user sees it, or by its jti.

    \b
    Example:
      mtls-as revoke token < token
    """
    form = {"token": file.read().strip()} if token_id is None else {"token_id": token_id}
    revoked = _revoke(config, server, form)
    say(f"The token {revoked['value']} is revoked. {_FOR_WHOM}")


@revoke.command(short_help="Revoke the tokens of a client.")
@click.argument("client_id")
@_before_option
@config_option
@server_options
def client(client_id: str, before: float | None, config: Path, server: "Connection | None") -> None:
    """Revoke all tokens that were issued to a client.

    \b
    Example:
      mtls-as revoke client reports
    """
    revoked = _revoke(config, server, {"client_id": client_id}, before)
    say(f"The tokens of {client_id} issued before {revoked['issued_before']} are revoked. {_FOR_WHOM}")


@revoke.command(short_help="Revoke the tokens bound to a certificate.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--thumbprint", metavar="X5T", help="Instead of the certificate its x5t#S256, as in tokens and the log.")
@_before_option
@config_option
@server_options
def certificate(
    file: Path | None, thumbprint: str | None, before: float | None, config: Path, server: "Connection | None"
) -> None:
    """Revoke all tokens that are bound to a certificate: the first one of a PEM file, or a DER file.

    The certificate itself is revoked by its CA.

    \b
    Example:
      mtls-as revoke certificate stolen.pem
    """
    if (file is None) == (thumbprint is None):
        raise click.UsageError("give the certificate's file, or its --thumbprint")
    x5t = str(thumbprint) if file is None else _thumbprint(file)
    revoked = _revoke(config, server, {"certificate": x5t}, before)
    say(f"The tokens bound to {x5t} and issued before {revoked['issued_before']} are revoked. {_FOR_WHOM}")


@revoke.command("before", short_help="Revoke all tokens issued before a time.")
@click.argument("before", callback=_time, metavar="TIME")
@config_option
@server_options
def before_(before: float | None, config: Path, server: "Connection | None") -> None:
    """Revoke all tokens that were issued before a time: 2026-01-31T12:00:00Z, or now.

    If the signing key has leaked, this is not enough: mtls-as keys rotate --leaked.

    \b
    Example:
      mtls-as revoke before now
    """
    revoked = _revoke(config, server, {}, time.time() if before is None else before)
    say(f"All tokens issued before {revoked['issued_before']} are revoked. {_FOR_WHOM}")


def _revoke(
    config: Path, server: "Connection | None", form: dict[str, str], before: float | None = None
) -> dict[str, Any]:
    from mtls_as.server.endpoints.admin.routes import REVOKE_TOKENS

    if before is not None:
        form["before"] = f"{before:.6f}"
    return administration(config, server).call(REVOKE_TOKENS, form=form)


def _thumbprint(file: Path) -> str:
    from mtls_as.cli.files import read_certificates
    from mtls_as.rfc.rfc8705_mtls import x5t_s256

    return x5t_s256(read_certificates(file)[0].der)
