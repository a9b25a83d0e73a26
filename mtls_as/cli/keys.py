"""`mtls-as keys`: the keys that sign access tokens."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mtls_as.cli.administration import administration
from mtls_as.cli.options import config_option, json_option, server_options
from mtls_as.cli.output import format_time, say, say_listing

if TYPE_CHECKING:
    from mtls_as.cli.remote import Connection
    from mtls_as.config import Settings
    from mtls_as.server.signing_keys import KeyPair, SigningKey

ALGORITHMS: Final = ("ES256", "PS256", "EdDSA", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87")

_COLUMNS: Final = ("kid", "algorithm", "state", "held_by", "created_at", "activates_at", "rotates_at", "expires_at")

now_option = click.option("--now", is_flag=True, help="Sign with the new key at once.")


@click.group()
def keys() -> None:
    """List, rotate and import the keys that sign access tokens."""


@keys.command("list", short_help="List the keys that sign access tokens.")
@config_option
@server_options
@json_option
def list_(config: Path, server: "Connection | None", *, as_json: bool) -> None:
    """List the keys: next (published, signs nothing yet), active, or retired (its tokens may still be in use).

    Each algorithm has an active key of its own. `held_by` is storage, or the name of a key in an HSM; `rotates_at` is
    when a running server makes the next key, if keys.rotate_every is set.

    \b
    Example:
      mtls-as keys list
    """
    from mtls_as.server.endpoints.admin.routes import LIST_KEYS

    say_listing(administration(config, server).call(LIST_KEYS)["keys"], _COLUMNS, as_json=as_json)


@keys.command(short_help="Make the next signing key.")
@click.option("--algorithm", type=click.Choice(ALGORITHMS), help="Of the new key; else that of the configuration.")
@now_option
@click.option("--leaked", is_flag=True, help="Sign with the new key at once, and withdraw the old one with its tokens.")
@config_option
@server_options
def rotate(config: Path, server: "Connection | None", algorithm: str | None, *, now: bool, leaked: bool) -> None:
    """Make a new key. It is published ten minutes before it signs, so that every resource server knows it by then.

    The key before it stays published until its last token has expired, also with --now; only --leaked withdraws it, and
    resource servers notice that when they next fetch the keys. With [keys.pkcs11] the key is made in the HSM.

    \b
    Example:
      mtls-as keys rotate
    """
    from mtls_as.server.endpoints.admin.routes import ROTATE_KEY

    members: dict[str, object] = {"now": now, "leaked": leaked}
    if algorithm is not None:
        members["algorithm"] = algorithm
    key = administration(config, server).call(ROTATE_KEY, members=members)
    _say_new(key["kid"], key["algorithm"], key["activates_at"])


@keys.command("import", short_help="Take over a signing key that exists.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--algorithm", type=click.Choice(ALGORITHMS), required=True, help="What the key signs with.")
@click.option("--label", metavar="LABEL", help="Instead of FILE: the label of a key pair in the HSM of [keys.pkcs11].")
@click.option(
    "--password-file", type=click.Path(path_type=Path), metavar="FILE", help="The password of an encrypted FILE."
)
@now_option
@config_option
def import_(
    config: Path, file: Path | None, algorithm: str, *, label: str | None, password_file: Path | None, now: bool
) -> None:
    """Make a key from a PEM file, or one in an HSM, the next signing key, as `rotate` does with a new one.

    The key must be of the algorithm's kind and strong enough. A copy of a file's key is stored, encrypted; the file is
    left as it is, and should be deleted.

    \b
    Example:
      mtls-as keys import key.pem --algorithm ES256
    """
    from mtls_as.config import load_settings

    if (file is None) == (label is None):
        raise click.UsageError("give FILE or --label")
    settings = load_settings(config)
    chosen = _wanted_algorithm(settings, algorithm)
    private_key = _read_key(file, password_file, chosen) if file else _find_key(settings, str(label), chosen)
    key = asyncio.run(_import(settings, chosen, private_key, now=now))
    _say_new(key.kid, key.algorithm, format_time(key.activates_at))


def _wanted_algorithm(settings: "Settings", chosen: str) -> str:
    if chosen not in settings.keys.algorithms:
        message = (
            f"add {chosen} to keys.algorithms first: servers end the keys of an algorithm that they are not told of"
        )
        raise click.ClickException(f"{settings.path}: {message}")
    return chosen


def _read_key(file: Path, password_file: Path | None, algorithm: str) -> "KeyPair":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from mtls_as.rfc.rfc7519_jwt import PrivateKey, fits

    password = None if password_file is None else password_file.read_bytes().rstrip(b"\r\n")
    try:
        key = load_pem_private_key(file.read_bytes(), password)
    except TypeError:
        needed = "is encrypted: give --password-file" if password is None else "is not encrypted, and has no password"
        raise click.ClickException(f"{file}: the private key {needed}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise click.ClickException(f"{file}: holds no private key in PEM form that can be read") from None
    if not isinstance(key, PrivateKey) or not fits(algorithm, key.public_key()):
        raise click.ClickException(f"{file}: the key is of another kind than {algorithm} needs, or too weak")
    return key


def _find_key(settings: "Settings", label: str, algorithm: str) -> "KeyPair":
    from mtls_as.wiring.external_signers import open_external_signers

    external = open_external_signers(settings)
    if external is None:
        raise click.ClickException(f"{settings.path}: there is no [keys.pkcs11], so no HSM to look for {label} in")
    return external.find(label, algorithm)


def _say_new(kid: str, algorithm: str, activates_at: str) -> None:
    say(f"The signing key {kid} ({algorithm}) signs from {activates_at}.")


async def _import(settings: "Settings", algorithm: str, private_key: "KeyPair", *, now: bool) -> "SigningKey":
    from mtls_as.cli.stored import opened_storage
    from mtls_as.server.key_upkeep import OVERLAP, PUBLISH_AHEAD

    ahead = 0 if now else PUBLISH_AHEAD
    async with opened_storage(settings) as storage:
        return await storage.signing_keys.rotate(
            algorithm, at=time.time(), publish_ahead=ahead, overlap=OVERLAP, private_key=private_key
        )
