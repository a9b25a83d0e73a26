"""`mtls-as registration token`: the initial access tokens that let others register clients (RFC 7591 §1.2)."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mtls_as.cli.options import config_option, duration, json_option
from mtls_as.cli.output import format_time, say, say_json, say_listing

if TYPE_CHECKING:
    from mtls_as.config import Settings
    from mtls_as.server.registration_policy import RegistrationPolicy
    from mtls_as.server.registrations import InitialAccessToken

_NAME_LENGTH = 12
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
@click.option("--jwks-uri-prefix", multiple=True, metavar="URL", help="Below which they may publish their keys.")
@click.option("--expires", callback=duration, default="1d", show_default=True, metavar="TIME", help="When it ends.")
@click.option("--uses", type=click.IntRange(1, 1_000_000), default=1, show_default=True, help="How many clients.")
@config_option
@json_option
def create(config: Path, expires: int, uses: int, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - click's options, by name
    """Make an initial access token and show it once. Of several methods and trust domains, the first is what a client
    gets that asks for none; by default the method is tls_client_auth.

    \b
    Example:
      mtls-as registration token create --trust default --scope reports:read --expires 1d --uses 1
    """
    from mtls_as.config import load_settings
    from mtls_as.server.registrations import InitialAccessToken, make_token

    settings = load_settings(config)
    if settings.registration is None:
        raise click.ClickException(f"clients cannot register themselves: {config} has no [registration]")
    policy = _policy(settings, **options)
    text, digest = make_token()
    ends = time.time() + expires
    asyncio.run(_add(settings, InitialAccessToken(digest=digest, policy=policy, uses_left=uses, expires_at=ends)))
    if as_json:
        say_json({"initial_access_token": text, "expires_at": format_time(ends), "uses": uses})
        return
    say(f"The token registers {uses} client{'s' if uses > 1 else ''} until {format_time(ends)}. It is not shown again:")
    say(text)


@token_.command("list")
@config_option
@json_option
def list_(config: Path, *, as_json: bool) -> None:
    """List the initial access tokens, by the beginning of their hash.

    \b
    Example:
      mtls-as registration token list
    """
    from mtls_as.config import load_settings

    rows = [_described(each) for each in asyncio.run(_list(load_settings(config)))]
    say_listing(rows, ("name", "uses_left", "expires_at", "trust", "scope"), as_json=as_json)


@token_.command()
@click.argument("name")
@config_option
def delete(name: str, config: Path) -> None:
    """Forget an initial access token. Clients registered with it stay.

    \b
    Example:
      mtls-as registration token delete 9d4e1e23bd5b
    """
    from mtls_as.config import load_settings

    if not asyncio.run(_delete(load_settings(config), name)):
        raise click.ClickException(f"there is no initial access token {name}; see mtls-as registration token list")
    say(f"The token {name} is forgotten.")


def _policy(
    settings: "Settings",
    *,
    scope: str,
    trust: tuple[str, ...],
    methods: tuple[str, ...],
    grant_types: tuple[str, ...],
    jwks_uri_prefix: tuple[str, ...],
) -> "RegistrationPolicy":
    from mtls_as.rfc.rfc6749_framework import parse_scope
    from mtls_as.server.registration_policy import RegistrationPolicy, is_prefix

    try:
        scopes = parse_scope(scope)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--scope") from None
    known = {each for resource in settings.resources for each in resource.scopes}
    for missing in (each for each in scopes if each not in known):
        raise click.BadParameter(f"no resource knows the scope {missing}", param_hint="--scope")
    domains = {domain.name for domain in settings.trust_domains}
    for missing in (each for each in trust if each not in domains):
        raise click.BadParameter(f"there is no trust domain {missing}", param_hint="--trust")
    for prefix in (each for each in jwks_uri_prefix if not is_prefix(each)):
        message = f"{prefix} is no https URL in its plainest form that ends with a slash"
        raise click.BadParameter(message, param_hint="--jwks-uri-prefix")
    chosen = methods or _METHODS[:1]
    if "tls_client_auth" in chosen and not trust:
        raise click.UsageError("Which trust domain may its clients have? Give --trust.")
    return RegistrationPolicy(
        scope=scopes,
        trust=trust,
        methods=chosen,
        grant_types=grant_types or _GRANTS[:1],
        jwks_uri_prefixes=jwks_uri_prefix,
    )


def _described(token: "InitialAccessToken") -> dict[str, object]:
    return {
        "name": _name(token),
        "uses_left": token.uses_left,
        "expires_at": format_time(token.expires_at),
        "trust": " ".join(token.policy.trust),
        "scope": " ".join(token.policy.scope),
        "methods": " ".join(token.policy.methods),
    }


def _name(token: "InitialAccessToken") -> str:
    """In hexadecimal digits: the digest itself may begin with a hyphen, as options do."""
    from mtls_as.rfc.rfc4648_base64url import decode_base64url

    return decode_base64url(token.digest).hex()[:_NAME_LENGTH]


async def _add(settings: "Settings", token: "InitialAccessToken") -> None:
    from mtls_as.cli.stored import opened_storage

    async with opened_storage(settings) as storage:
        await storage.registrations.add_initial_access_token(token)


async def _list(settings: "Settings") -> "tuple[InitialAccessToken, ...]":
    from mtls_as.cli.stored import opened_storage

    async with opened_storage(settings) as storage:
        return await storage.registrations.initial_access_tokens()


async def _delete(settings: "Settings", name: str) -> bool:
    from mtls_as.cli.stored import opened_storage

    async with opened_storage(settings) as storage:
        for token in await storage.registrations.initial_access_tokens():
            if _name(token) == name:
                await storage.registrations.delete_initial_access_token(token.digest)
                return True
    return False
