"""`mtls-as registration token`: the initial access tokens that let others register clients (RFC 7591 §1.2)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mtls_as.cli.administration import administration
from mtls_as.cli.options import config_option, duration, json_option, server_options
from mtls_as.cli.output import say, say_json, say_listing

if TYPE_CHECKING:
    from mtls_as.cli.remote import Connection

_METHODS = (
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "private_key_jwt",
    "client_secret_basic",
    "client_secret_post",
)
_GRANTS = ("client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange")


@click.group()
def registration() -> None:
    """Let others register clients."""


@registration.group("token")
def token_() -> None:
    """Make, list and delete initial access tokens."""


@token_.command(short_help="Make an initial access token, and show it once.")
@click.option("--scope", required=True, metavar="SCOPES", help="What its clients may ask for at most.")
@click.option("--trust", multiple=True, metavar="DOMAIN", help="A trust domain for them; repeat it for further ones.")
@click.option("--method", "methods", multiple=True, type=click.Choice(_METHODS), help="How they may authenticate.")
@click.option("--grant-type", "grant_types", multiple=True, type=click.Choice(_GRANTS), help="A grant they may use.")
@click.option(
    "--jwks-uri-prefix",
    "jwks_uri_prefixes",
    multiple=True,
    metavar="URL",
    help="Below which they may publish their keys.",
)
@click.option("--expires", callback=duration, default="1d", show_default=True, metavar="TIME", help="When it ends.")
@click.option("--uses", type=click.IntRange(1, 1_000_000), default=1, show_default=True, help="How many clients.")
@config_option
@server_options
@json_option
def create(
    config: Path,
    server: "Connection | None",
    expires: int,
    uses: int,
    *,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - click's options, by name
) -> None:
    """Make an initial access token and show it once. Of several methods and trust domains, the first is what a client
    gets that asks for none; by default the method is tls_client_auth.

    \b
    Example:
      mtls-as registration token create --trust default --scope reports:read --expires 1d --uses 1
    """
    from mtls_as.server.endpoints.admin.routes import ADD_REGISTRATION_TOKEN

    asked = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items() if value}
    members = {**asked, "expires_in": expires, "uses": uses}
    made = administration(config, server).call(ADD_REGISTRATION_TOKEN, members=members)
    if as_json:
        say_json(made)
        return
    count = f"{uses} client{'s' if uses > 1 else ''}"
    say(f"The token registers {count} until {made['expires_at']}. It is not shown again:")
    say(made["initial_access_token"])


@token_.command("list")
@config_option
@server_options
@json_option
def list_(config: Path, server: "Connection | None", *, as_json: bool) -> None:
    """List the initial access tokens, by the beginning of their hash.

    \b
    Example:
      mtls-as registration token list
    """
    from mtls_as.server.endpoints.admin.routes import LIST_REGISTRATION_TOKENS

    rows = administration(config, server).call(LIST_REGISTRATION_TOKENS)["tokens"]
    say_listing(rows, ("name", "uses_left", "expires_at", "trust", "scope"), as_json=as_json)


@token_.command()
@click.argument("name")
@config_option
@server_options
def delete(name: str, config: Path, server: "Connection | None") -> None:
    """Forget an initial access token. Clients registered with it stay.

    \b
    Example:
      mtls-as registration token delete 9d4e1e23bd5b
    """
    from mtls_as.server.endpoints.admin.routes import DELETE_REGISTRATION_TOKEN

    administration(config, server).call(DELETE_REGISTRATION_TOKEN, parameters={"name": name})
    say(f"The token {name} is forgotten.")
