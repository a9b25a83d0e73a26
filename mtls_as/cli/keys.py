"""`mtls-as keys`: the keys that sign access tokens."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mtls_as.cli.options import config_option, json_option
from mtls_as.cli.output import format_time, say, say_listing

if TYPE_CHECKING:
    from mtls_as.config import Settings
    from mtls_as.server.key_upkeep import KeyPlan
    from mtls_as.server.signing_keys import KeyPair, SigningKey, SigningKeys

ALGORITHMS: Final = ("ES256", "PS256", "EdDSA", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87")

_COLUMNS: Final = ("kid", "algorithm", "state", "held_by", "created_at", "activates_at", "rotates_at", "expires_at")

now_option = click.option("--now", is_flag=True, help="Sign with the new key at once.")


@click.group()
def keys() -> None:
    """List, rotate and import the keys that sign access tokens."""


@keys.command("list", short_help="List the keys that sign access tokens.")
@config_option
@json_option
def list_(config: Path, *, as_json: bool) -> None:
    """List the keys: next (published, signs nothing yet), active, or retired (its tokens may still be in use).

    Each algorithm has an active key of its own. `held_by` is storage, or the name of a key in an HSM; `rotates_at` is
    when a running server makes the next key, if keys.rotate_every is set.

    \b
    Example:
      mtls-as keys list
    """
    from mtls_as.config import load_settings

    rows = asyncio.run(_list(load_settings(config), at=time.time()))
    say_listing(rows, _COLUMNS, as_json=as_json)


@keys.command(short_help="Make the next signing key.")
@click.option("--algorithm", type=click.Choice(ALGORITHMS), help="Of the new key; else that of the configuration.")
@now_option
@click.option("--leaked", is_flag=True, help="Sign with the new key at once, and withdraw the old one with its tokens.")
@config_option
def rotate(config: Path, algorithm: str | None, *, now: bool, leaked: bool) -> None:
    """Make a new key. It is published ten minutes before it signs, so that every resource server knows it by then.

    The key before it stays published until its last token has expired, also with --now; only --leaked withdraws it, and
    resource servers notice that when they next fetch the keys. With [keys.pkcs11] the key is made in the HSM.

    \b
    Example:
      mtls-as keys rotate
    """
    from mtls_as.config import load_settings
    from mtls_as.wiring.external_signers import open_external_signers
    from mtls_as.wiring.signing_keys import key_maker

    settings = load_settings(config)
    chosen = _wanted_algorithm(settings, algorithm)
    private_key = key_maker(open_external_signers(settings))(chosen)
    key = asyncio.run(_rotate(settings, chosen, private_key, now=now, leaked=leaked))
    _say_new(key)


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
    _say_new(asyncio.run(_rotate(settings, chosen, private_key, now=now, leaked=False)))


def _wanted_algorithm(settings: "Settings", algorithm: str | None) -> str:
    chosen = algorithm or settings.tokens.algorithm
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


def _say_new(key: "SigningKey") -> None:
    say(f"The signing key {key.kid} ({key.algorithm}) signs from {format_time(key.activates_at)}.")


async def _list(settings: "Settings", *, at: float) -> list[dict[str, object]]:
    from mtls_as.cli.stored import opened_storage
    from mtls_as.server.signing_keys import KeyState, SigningKeys
    from mtls_as.wiring.signing_keys import key_plan

    async with opened_storage(settings) as storage:
        stored = SigningKeys(await storage.signing_keys.all())
    plan = key_plan(settings)
    alive = (key for key in stored.keys if stored.state(key, at) is not KeyState.GONE)
    return [_described(key, stored, plan, at) for key in alive]


async def _rotate(
    settings: "Settings", algorithm: str, private_key: "KeyPair", *, now: bool, leaked: bool
) -> "SigningKey":
    from mtls_as.cli.stored import opened_storage
    from mtls_as.server.key_upkeep import OVERLAP, PUBLISH_AHEAD

    async with opened_storage(settings) as storage:
        return await storage.signing_keys.rotate(
            algorithm,
            at=time.time(),
            publish_ahead=0 if now or leaked else PUBLISH_AHEAD,
            overlap=0 if leaked else OVERLAP,
            private_key=private_key,
        )


def _described(key: "SigningKey", stored: "SigningKeys", plan: "KeyPlan", at: float) -> dict[str, object]:
    from mtls_as.server.signing_keys import ExternalKey

    external = key.private_key if isinstance(key.private_key, ExternalKey) else None
    rotates_at = plan.rotates_at(stored, key, at)
    return {
        "kid": key.kid,
        "algorithm": key.algorithm,
        "state": stored.state(key, at).value,
        "held_by": "storage" if external is None else external.uri,
        "created_at": format_time(key.created_at),
        "activates_at": format_time(key.activates_at),
        "rotates_at": None if rotates_at is None else format_time(rotates_at),
        "expires_at": None if key.expires_at is None else format_time(key.expires_at),
    }
