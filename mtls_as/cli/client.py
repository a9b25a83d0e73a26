"""`mtls-as client`: the clients stored in the database; those of the configuration file are shown, not changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mtls_as.cli.administration import administration, every
from mtls_as.cli.options import config_option, duration, json_option, server_options
from mtls_as.cli.output import say, say_json, say_listing
from mtls_as.cli.registration import members_of_file, members_of_options

if TYPE_CHECKING:
    from mtls_as.cli.remote import Connection
    from mtls_as.config import Settings
    from mtls_as.server.clients import Client

_METHODS = (
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "private_key_jwt",
    "client_secret_basic",
    "client_secret_post",
    "spiffe_x509",
    "spiffe_jwt",
    "none",
)
_SHOWN_ALONE = frozenset({"source", "client_secrets"})
"""What `show --json` says beside a registration: its output may be edited and given back."""


@click.group()
def client() -> None:
    """Register clients, and list, disable or delete them.

    A running server takes over every change within about a second.
    """


@client.command()
@click.option("--client-id", metavar="ID", help="The name of the client, chosen by you.")
@click.option("--trust", metavar="DOMAIN", help="The trust domain its certificates must chain to.")
@click.option("--subject-dn", metavar="DN", help="Its certificate's subject, as RFC 4514 text: CN=reports,O=Example")
@click.option("--san-dns", metavar="NAME", help="Or a DNS name among the alternative names.")
@click.option("--san-uri", metavar="URI", help="Or a URI among them.")
@click.option("--san-ip", metavar="ADDRESS", help="Or an IP address among them.")
@click.option("--san-email", metavar="MAILBOX", help="Or a mailbox among them.")
@click.option(
    "--certificate",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Or register this very certificate; nothing else about it is then trusted.",
)
@click.option("--jwks", type=click.Path(path_type=Path), metavar="FILE", help="Or the keys of a JWK Set.")
@click.option("--jwks-uri", metavar="URL", help="Or the place where the client publishes its JWK Set.")
@click.option("--spiffe-id", metavar="ID", help="Or a SPIFFE ID, with /* at its end all workloads below a path.")
@click.option("--spiffe-jwt", is_flag=True, help="With --spiffe-id: it sends JWT-SVIDs, not X.509-SVIDs.")
@click.option(
    "--method",
    "token_endpoint_auth_method",
    type=click.Choice(_METHODS),
    help="How it authenticates, where the other options leave that open: keys are by default those of its certificate, "
    "and with private_key_jwt they sign assertions; with client_secret_… the server makes a secret, and shows it once.",
)
@click.option("--scope", metavar="SCOPES", help="What it may ask for, separated by spaces.")
@click.option("--name", "client_name", metavar="TEXT", help="A name for people.")
@click.option("--access-token-lifetime", type=int, metavar="SECONDS", help="Instead of the server's own.")
@click.option("--dpop", is_flag=True, help="Bind its tokens to the key of its DPoP proofs, not to the certificate.")
@click.option("--bearer", is_flag=True, help="Issue tokens that are NOT bound to the certificate.")
@click.option(
    "--metadata",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A JSON object with the members of RFC 7591 and RFC 8705; options win over it.",
)
@config_option
@server_options
@json_option
def add(config: Path, server: "Connection | None", metadata: Path | None, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - click's options, by name
    """Register a client. It is known in one way: by one subject, certificate, set of keys, SPIFFE ID, or by a secret.

    \b
    Examples:
      mtls-as client add --client-id reports --trust default --san-dns reports.example --scope reports:read
      mtls-as client add --client-id partner --certificate partner.pem --scope reports:read
      mtls-as client add --client-id batch --method private_key_jwt --jwks batch.jwks.json --scope reports:read
      mtls-as client add --client-id old --method client_secret_basic --scope reports:read
      mtls-as client add --metadata client.json
    """
    from mtls_as.server.endpoints.admin.routes import ADD_CLIENT

    members = {**members_of_file(metadata), **members_of_options(options)}
    if "client_id" not in members:
        raise click.UsageError("Missing option '--client-id'.")
    if "token_endpoint_auth_method" not in members:
        raise click.UsageError(
            "How is the client known? Give one --subject-dn, --san-…, --certificate, --jwks…, --spiffe-id or --method."
        )
    added = administration(config, server).call(ADD_CLIENT, members=members)
    if as_json:
        say_json(added)
        return
    say(f"The client {added['client_id']} is registered.")
    if "client_secret" in added:
        _say_secret(added["client_secret"])


@client.command("list")
@config_option
@server_options
@json_option
def list_(config: Path, server: "Connection | None", *, as_json: bool) -> None:
    """List the clients of the configuration file and of the database.

    \b
    Example:
      mtls-as client list --json
    """
    from mtls_as.server.endpoints.admin.routes import LIST_CLIENTS

    rows = every(administration(config, server), LIST_CLIENTS, "clients")
    columns = ("client_id", "token_endpoint_auth_method", "identity", "trust", "scope", "enabled", "source")
    if not as_json:
        rows = [row | {"identity": _identity(row)} for row in rows]
    say_listing(rows, columns, as_json=as_json)


@client.command()
@click.argument("client_id", metavar="ID")
@config_option
@server_options
@json_option
def show(client_id: str, config: Path, server: "Connection | None", *, as_json: bool) -> None:
    """Show one client: its metadata, and where it is registered.

    \b
    Example:
      mtls-as client show reports
    """
    from mtls_as.server.endpoints.admin.routes import SHOW_CLIENT

    _show(administration(config, server).call(SHOW_CLIENT, parameters={"client_id": client_id}), as_json=as_json)


@client.command(short_help="Replace the registration of a client.")
@click.argument("client_id", metavar="ID")
@click.option(
    "--metadata",
    type=click.Path(path_type=Path),
    metavar="FILE",
    required=True,
    help="A JSON object with the members of RFC 7591 and RFC 8705.",
)
@config_option
@server_options
@json_option
def replace(client_id: str, metadata: Path, config: Path, server: "Connection | None", *, as_json: bool) -> None:
    """Replace the registration of a client as a whole. Its secrets stay; so does whether it is enabled, unless the file
    says it.

    \b
    Example:
      mtls-as client replace partner --metadata partner.json
    """
    from mtls_as.server.endpoints.admin.routes import REPLACE_CLIENT

    members = {name: value for name, value in members_of_file(metadata).items() if name not in _SHOWN_ALONE}
    parameters = {"client_id": client_id}
    replaced = administration(config, server).call(REPLACE_CLIENT, parameters=parameters, members=members)
    if as_json:
        say_json(replaced)
    else:
        say(f"The client {client_id} is replaced.")


@client.command("rotate-secret", short_help="Make the next secret of a client, and show it once.")
@click.argument("client_id", metavar="ID")
@click.option(
    "--overlap",
    callback=duration,
    default="1d",
    show_default=True,
    metavar="TIME",
    help="How long the secret before stays valid: 45s, 30m, 12h, 1d. 0s ends it at once.",
)
@config_option
@server_options
@json_option
def rotate_secret(client_id: str, overlap: int, config: Path, server: "Connection | None", *, as_json: bool) -> None:
    """Make a new secret for a client and show it once. The one before stays valid for a while, so that both sides can
    change without a gap; any older one ends at once.

    \b
    Example:
      mtls-as client rotate-secret old --overlap 12h
    """
    from mtls_as.server.endpoints.admin.routes import ROTATE_SECRET

    found = administration(config, server)
    changed = found.call(ROTATE_SECRET, parameters={"client_id": client_id}, members={"overlap": overlap})
    if as_json:
        say_json(changed)
        return
    say(f"The client {client_id} has a new secret.")
    for each in changed["client_secrets"][:-1]:
        say(f"The one before is valid until {each['expires_at']}.")
    _say_secret(changed["client_secret"])


@client.command()
@click.argument("client_id", metavar="ID")
@config_option
@server_options
def disable(client_id: str, config: Path, server: "Connection | None") -> None:
    """Keep a client out, and its registration. Tokens it has go on until they expire.

    \b
    Example:
      mtls-as client disable partner
    """
    from mtls_as.server.endpoints.admin.routes import DISABLE_CLIENT

    administration(config, server).call(DISABLE_CLIENT, parameters={"client_id": client_id})
    say(f"The client {client_id} is disabled.")


@client.command()
@click.argument("client_id", metavar="ID")
@config_option
@server_options
def enable(client_id: str, config: Path, server: "Connection | None") -> None:
    """Let a disabled client in again.

    \b
    Example:
      mtls-as client enable partner
    """
    from mtls_as.server.endpoints.admin.routes import ENABLE_CLIENT

    administration(config, server).call(ENABLE_CLIENT, parameters={"client_id": client_id})
    say(f"The client {client_id} is enabled.")


@client.command()
@click.argument("client_id", metavar="ID")
@config_option
@server_options
def delete(client_id: str, config: Path, server: "Connection | None") -> None:
    """Forget a client. Tokens it has go on until they expire.

    \b
    Example:
      mtls-as client delete partner
    """
    from mtls_as.server.endpoints.admin.routes import DELETE_CLIENT

    administration(config, server).call(DELETE_CLIENT, parameters={"client_id": client_id})
    say(f"The client {client_id} is deleted.")


async def some_clients(settings: "Settings", limit: int) -> "list[Client]":
    """The declared clients and so many stored ones, in the order of their names, as the server knows them."""
    from mtls_as.cli.stored import opened_storage

    async with opened_storage(settings) as storage:
        return [*settings.clients, *await storage.clients.page(after=None, limit=limit)]


async def one_client(settings: "Settings", client_id: str) -> "Client | None":
    """The client of a name, declared or stored."""
    from mtls_as.cli.stored import opened_storage

    declared = (client for client in settings.clients if client.client_id == client_id)
    if (found := next(declared, None)) is not None:
        return found
    async with opened_storage(settings) as storage:
        return await storage.clients.find(client_id)


def _say_secret(secret: str) -> None:
    say("Its secret, which nobody can show again:")
    say(secret)


def _identity(members: Mapping[str, Any]) -> str:
    for name, value in members.items():
        if name.startswith("tls_client_auth_"):
            return f"{name.removeprefix('tls_client_auth_')} {value}"
    if "jwks_uri" in members:
        return str(members["jwks_uri"])
    if "spiffe_id" in members:
        return str(members["spiffe_id"])
    if "jwks" not in members:
        return "-"
    count = len(members["jwks"]["keys"])
    return "1 registered key" if count == 1 else f"{count} registered keys"


def _show(members: Mapping[str, Any], *, as_json: bool) -> None:
    from mtls_as.cli.certificate_facts import toml_assignment

    if as_json:
        say_json(members)
        return
    for name, value in members.items():
        if name == "source":
            say(f"# registered in the {value}")
        elif name == "client_secrets":
            for secret in value:
                end = "" if secret["expires_at"] is None else f", valid until {secret['expires_at']}"
                say(f"# a secret made at {secret['created_at']}{end}")
        else:
            say(toml_assignment(name, value))
