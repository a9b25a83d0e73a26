"""`mtls-as token`: a token for scripts, fetched as a client."""

import time
from pathlib import Path
from typing import Any

import click

from mtls_as.cli.options import ca_option, json_option
from mtls_as.cli.output import say, say_json


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
def token(*, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - click's options, by name
    """Fetch an access token with a certificate, and print it alone on standard output.

    The token endpoint is found through the issuer's metadata. The token is good only together with the certificate.

    \b
    Example:
      TOKEN=$(mtls-as token --issuer https://as.example --client-id reports --cert reports.pem --key reports-key.pem)
    """
    from mtls_as.client import fetch_token

    fetched = fetch_token(**options)
    if not as_json:
        say(fetched.value)
        return
    expires_in = max(0, int(fetched.expires_at - time.time()))
    say_json(
        {
            "access_token": fetched.value,
            "token_type": "Bearer",
            "expires_in": expires_in,
            "scope": fetched.scope or options["scope"],
        }
    )
