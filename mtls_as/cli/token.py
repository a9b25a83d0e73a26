"""`mtls-as token`: a token for scripts, fetched as a client."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mtls_as.cli.options import ca_option, json_option
from mtls_as.cli.output import say, say_json
from mtls_as.cli.token_handover import Handover, run_with_token

if TYPE_CHECKING:
    from mtls_as.client import AccessToken, TokenSource
    from mtls_as.client.token_source import BoundToken


@click.command(short_help="Fetch a token as a client.")
@click.option("--issuer", required=True, metavar="URL", help="The authorization server.")
@click.option("--client-id", required=True, metavar="ID", help="The client's name there.")
@click.option(
    "--cert",
    "certificate",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The client's certificate chain, PEM, its own certificate first.",
)
@click.option(
    "--key",
    "private_key",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The private key of the certificate, PEM.",
)
@click.option("--scope", metavar="SCOPES", help="What to ask for, separated by spaces; else all that the client has.")
@click.option("--resource", metavar="URI", help="The resource server that the token is for.")
@ca_option
@json_option
@click.option("--exec", "execute", is_flag=True, help="Run COMMAND with the token, or answer kubectl, which asked.")
@click.option(
    "--in",
    "handover",
    type=click.Choice([each.value for each in Handover]),
    help="With COMMAND: where it finds the token. env, the default: ACCESS_TOKEN; stdin: a line; file: named by "
    "ACCESS_TOKEN_FILE.",
)
@click.option("--with-certificate", is_flag=True, help="For kubectl: the certificate and its key, too.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Keep tokens in a folder that nobody else may enter, and use them again. Not done without.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def token(
    *,
    as_json: bool,
    execute: bool,
    handover: str | None,
    with_certificate: bool,
    cache: Path | None,
    command: tuple[str, ...],
    scope: str | None,
    resource: str | None,
    **options: Any,  # noqa: ANN401 - click's options, by name
) -> None:
    """Fetch an access token with a certificate, and print it alone on standard output.

    The token endpoint is found through the issuer's metadata. The token is good only together with the certificate.

    With --exec and a COMMAND, become that command with the token in its environment; with --exec alone, be a
    credential plugin of kubectl.

    \b
    Examples:
      TOKEN=$(mtls-as token --issuer https://as.example --client-id reports --cert reports.pem --key reports-key.pem)
      mtls-as token --exec --issuer … --client-id … --cert … --key … -- ./report.sh
    """
    from mtls_as.cli.exec_credential import exec_credential
    from mtls_as.client import TokenSource

    version = _check_usage(execute=execute, command=command, handover=handover, with_certificate=with_certificate)
    bound = _fetch(TokenSource(**options), scope=scope, resource=resource, cache=cache)
    if command:
        run_with_token(command, bound.token.value, Handover(handover or Handover.ENVIRONMENT))
    if version is not None:
        say_json(exec_credential(bound, version=version, with_certificate=with_certificate))
    elif as_json:
        _say_answer(bound.token, scope)
    else:
        say(bound.token.value)


def _check_usage(
    *, execute: bool, command: tuple[str, ...], handover: str | None, with_certificate: bool
) -> str | None:
    """The version of the API in which kubectl wants its answer, if it is kubectl that asked."""
    from mtls_as.cli.exec_credential import VARIABLE, asked_version

    if command and not execute:
        raise click.UsageError("COMMAND goes with --exec.")
    if handover is not None and not command:
        raise click.UsageError("--in goes with --exec and a COMMAND.")
    version = asked_version(os.environ) if execute and not command else None
    if with_certificate and version is None:
        raise click.UsageError("--with-certificate is for kubectl, with --exec.")
    if execute and not command and version is None:
        raise click.UsageError(f"--exec wants a COMMAND, after --, or {VARIABLE}, which kubectl sets.")
    return version


def _fetch(tokens: "TokenSource", *, scope: str | None, resource: str | None, cache: Path | None) -> "BoundToken":
    from mtls_as.cli.token_cache import TokenCache
    from mtls_as.client.token_source import BoundToken

    if cache is None:
        return tokens.bound(scope=scope, resource=resource)
    credentials = tokens.credentials()
    what_for = (tokens.issuer, tokens.client_id, scope, resource, credentials.x5t_s256)
    kept, now = TokenCache(cache, *what_for), time.time()
    found = kept.read(now=now)
    if found is None:
        found = tokens.token(scope=scope, resource=resource)
        kept.write(found, now=now)
    return BoundToken(token=found, credentials=credentials)


def _say_answer(fetched: "AccessToken", scope: str | None) -> None:
    expires_in = max(0, int(fetched.expires_at - time.time()))
    say_json(
        {
            "access_token": fetched.value,
            "token_type": "Bearer",
            "expires_in": expires_in,
            "scope": fetched.scope or scope,
        }
    )
