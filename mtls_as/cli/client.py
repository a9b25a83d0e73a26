"""`mtls-as client`: the clients stored in the database; those of the configuration file are shown, not changed."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mtls_as.cli.options import config_option, duration, json_option
from mtls_as.cli.output import format_time, say, say_json, say_listing
from mtls_as.cli.registration import members_of_file, members_of_options

if TYPE_CHECKING:
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
@json_option
def add(config: Path, metadata: Path | None, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - click's options, by name
    """Register a client. It is known in one way: by one subject, certificate, set of keys, SPIFFE ID, or by a secret.

    \b
    Examples:
      mtls-as client add --client-id reports --trust default --san-dns reports.example --scope reports:read
      mtls-as client add --client-id partner --certificate partner.pem --scope reports:read
      mtls-as client add --client-id batch --method private_key_jwt --jwks batch.jwks.json --scope reports:read
      mtls-as client add --client-id old --method client_secret_basic --scope reports:read
      mtls-as client add --metadata client.json
    """
    from mtls_as.config import load_settings
    from mtls_as.rfc.rfc7591_client_metadata import ClientMetadataError
    from mtls_as.server.clients import ClientSource, parse_client

    settings = load_settings(config)
    members = {**members_of_file(metadata), **members_of_options(options)}
    if "client_id" not in members:
        raise click.UsageError("Missing option '--client-id'.")
    if "token_endpoint_auth_method" not in members:
        raise click.UsageError(
            "How is the client known? Give one --subject-dn, --san-…, --certificate, --jwks…, --spiffe-id or --method."
        )
    new = parse_client(members, ClientSource.STORAGE)
    problems = settings.find_client_problems(new)
    if problems:
        raise ClientMetadataError(problems)
    if any(declared.client_id == new.client_id for declared in settings.clients):
        raise click.ClickException(f"the client {new.client_id} is declared in {config}; choose another name")
    new, secret = _with_secret(new)
    asyncio.run(_add(settings, new))
    if as_json:
        say_json(_described(new) | ({} if secret is None else {"client_secret": secret}))
        return
    say(f"The client {new.client_id} is registered.")
    if secret is not None:
        _say_secret(secret)


@client.command("list")
@config_option
@json_option
def list_(config: Path, *, as_json: bool) -> None:
    """List the clients of the configuration file and of the database.

    \b
    Example:
      mtls-as client list --json
    """
    from mtls_as.config import load_settings

    clients = asyncio.run(all_clients(load_settings(config)))
    rows = [_described(each) for each in clients]
    columns = ("client_id", "token_endpoint_auth_method", "identity", "trust", "scope", "enabled", "source")
    if not as_json:
        rows = [row | {"identity": _identity(row)} for row in rows]
    say_listing(rows, columns, as_json=as_json)


@client.command()
@click.argument("client_id", metavar="ID")
@config_option
@json_option
def show(client_id: str, config: Path, *, as_json: bool) -> None:
    """Show one client: its metadata, and where it is registered.

    \b
    Example:
      mtls-as client show reports
    """
    from mtls_as.config import load_settings

    for each in asyncio.run(all_clients(load_settings(config))):
        if each.client_id == client_id:
            _show(_described(each), as_json=as_json)
            return
    raise click.ClickException(f"there is no client {client_id}, neither in {config} nor in the database")


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
@json_option
def rotate_secret(client_id: str, overlap: int, config: Path, *, as_json: bool) -> None:
    """Make a new secret for a client and show it once. The one before stays valid for a while, so that both sides can
    change without a gap; any older one ends at once.

    \b
    Example:
      mtls-as client rotate-secret old --overlap 12h
    """
    secret, changed = asyncio.run(_rotate_secret(config, client_id, at=time.time(), overlap=overlap))
    if as_json:
        say_json(_described(changed) | {"client_secret": secret})
        return
    say(f"The client {client_id} has a new secret.")
    for each in changed.secrets[:-1]:
        say(f"The one before is valid until {format_time(each.expires_at or 0)}.")
    _say_secret(secret)


@client.command()
@click.argument("client_id", metavar="ID")
@config_option
def disable(client_id: str, config: Path) -> None:
    """Keep a client out, and its registration. Tokens it has go on until they expire.

    \b
    Example:
      mtls-as client disable partner
    """
    asyncio.run(_set_enabled(config, client_id, enabled=False))
    say(f"The client {client_id} is disabled.")


@client.command()
@click.argument("client_id", metavar="ID")
@config_option
def enable(client_id: str, config: Path) -> None:
    """Let a disabled client in again.

    \b
    Example:
      mtls-as client enable partner
    """
    asyncio.run(_set_enabled(config, client_id, enabled=True))
    say(f"The client {client_id} is enabled.")


@client.command()
@click.argument("client_id", metavar="ID")
@config_option
def delete(client_id: str, config: Path) -> None:
    """Forget a client. Tokens it has go on until they expire.

    \b
    Example:
      mtls-as client delete partner
    """
    asyncio.run(_delete(config, client_id))
    say(f"The client {client_id} is deleted.")


async def all_clients(settings: "Settings") -> "list[Client]":
    """The declared clients and the stored ones, as the server knows them."""
    from mtls_as.cli.stored import opened_storage

    async with opened_storage(settings) as storage:
        return [*settings.clients, *await storage.clients.list()]


async def _add(settings: "Settings", new: "Client") -> None:
    from mtls_as.cli.stored import opened_storage

    async with opened_storage(settings) as storage:
        await storage.clients.add(new)


async def _rotate_secret(config: Path, client_id: str, *, at: float, overlap: float) -> "tuple[str, Client]":
    from mtls_as.cli.stored import opened_storage
    from mtls_as.server.client_secrets import make_secret

    secret, kept = make_secret(at=at)
    async with opened_storage(_settings_without(config, client_id)) as storage:
        return secret, await storage.clients.add_secret(client_id, kept, at=at, overlap=overlap)


def _with_secret(new: "Client") -> "tuple[Client, str | None]":
    """The client with a secret of its own if its method wants one, and that secret."""
    from mtls_as.rfc.rfc7591_client_metadata import SECRET_METHODS
    from mtls_as.server.client_secrets import make_secret

    if new.metadata.token_endpoint_auth_method not in SECRET_METHODS:
        return new, None
    secret, kept = make_secret(at=time.time())
    return replace(new, secrets=(kept,)), secret


def _say_secret(secret: str) -> None:
    say("Its secret, which nobody can show again:")
    say(secret)


async def _set_enabled(config: Path, client_id: str, *, enabled: bool) -> None:
    from mtls_as.cli.stored import opened_storage

    async with opened_storage(_settings_without(config, client_id)) as storage:
        await storage.clients.set_enabled(client_id, enabled)


async def _delete(config: Path, client_id: str) -> None:
    from mtls_as.cli.stored import opened_storage

    async with opened_storage(_settings_without(config, client_id)) as storage:
        await storage.clients.delete(client_id)


def _settings_without(config: Path, client_id: str) -> "Settings":
    """The settings, for a command on a client that must not be declared in them."""
    from mtls_as.config import load_settings

    settings = load_settings(config)
    if any(declared.client_id == client_id for declared in settings.clients):
        raise click.ClickException(f"the client {client_id} is declared in {config}: change it there")
    return settings


def _described(each: "Client") -> dict[str, Any]:
    from mtls_as.server.clients import format_client

    members = {**format_client(each), "source": each.source.value}
    if each.secrets:
        members["client_secrets"] = [
            {
                "created_at": format_time(secret.created_at),
                "expires_at": None if secret.expires_at is None else format_time(secret.expires_at),
            }
            for secret in each.secrets
        ]
    return members


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
