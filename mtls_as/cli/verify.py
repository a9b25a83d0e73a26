"""`mtls-as verify`: what a resource server would say to a token."""

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from mtls_as.cli.keys import ALGORITHMS
from mtls_as.cli.options import ca_option, json_option
from mtls_as.cli.output import format_time, say, say_json

if TYPE_CHECKING:
    from mtls_as.rfc.rfc9068_at_jwt import AccessTokenClaims

_LABEL_WIDTH = 12


@click.command(short_help="Verify a token as a resource server.")
@click.option("--issuer", required=True, metavar="URL", help="Whose token it must be.")
@click.option("--audience", required=True, metavar="URI", help="The resource server that it must be for.")
@click.option(
    "--certificate",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The client's certificate; without one, as over a connection without.",
)
@click.option(
    "--token", type=click.File(), default="-", metavar="FILE", help="A file with the token; by default standard input."
)
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="A scope that it must have; may be repeated.")
@click.option(
    "--algorithm",
    "algorithms",
    multiple=True,
    type=click.Choice(ALGORITHMS),
    help="What may have signed it, may be repeated; by default all that are not experimental.",
)
@click.option(
    "--jwks", type=click.Path(path_type=Path), metavar="FILE", help="The issuer's keys; else they are fetched from it."
)
@ca_option
@json_option
def verify(token: TextIO, certificate: Path | None, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - click's options, by name
    """Verify an access token against its issuer's keys and the client's certificate; exit status 1 if it is not good.

    The token comes on standard input, so that no other user of the machine sees it in the list of processes.

    \b
    Example:
      mtls-as token ... | mtls-as verify --issuer https://as.example --audience https://api.example --certificate c.pem
    """
    from mtls_as.cli.files import read_certificates
    from mtls_as.verifier import InsufficientScope, InvalidToken

    leaf = read_certificates(certificate)[0].der if certificate else None
    # Why keys could not be fetched is the error's own line; without a handler, the log would say it once more.
    logging.getLogger("mtls_as.remote").addHandler(logging.NullHandler())
    try:
        claims = asyncio.run(_verify(token.read().strip(), leaf, **options))
    except InvalidToken as error:
        _refuse(error.error, f"{error.reason}: {error.detail}", as_json=as_json)
    except InsufficientScope as error:
        _refuse(error.error, str(error), as_json=as_json)
    else:
        _accept(claims, as_json=as_json)


async def _verify(
    token: str,
    certificate: bytes | None,
    *,
    issuer: str,
    audience: str,
    scopes: tuple[str, ...],
    algorithms: tuple[str, ...],
    jwks: Path | None,
    ca: Path | None,
) -> "AccessTokenClaims":
    from mtls_as.cli.files import read_json, trusting_context
    from mtls_as.rfc.rfc7517_jwk import parse_jwks
    from mtls_as.rfc.rfc7519_jwt import ALGORITHMS as DEFAULT_ALGORITHMS
    from mtls_as.verifier import AccessTokenVerifier

    try:
        verifier = AccessTokenVerifier(
            issuer=issuer,
            audience=audience,
            algorithms=algorithms or DEFAULT_ALGORITHMS,
            jwks=None if jwks is None else parse_jwks(read_json(jwks)),
            ssl_context=trusting_context(ca),
        )
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    verified = await verifier.verify(token, certificate=certificate, scopes=scopes)
    return verified.claims


def _refuse(error: str, detail: str, *, as_json: bool) -> None:
    if as_json:
        say_json({"valid": False, "error": error, "detail": detail})
    raise click.ClickException(f"{error}: {detail}")


def _accept(claims: "AccessTokenClaims", *, as_json: bool) -> None:
    from mtls_as.rfc.rfc7800_confirmation import format_confirmation

    members = {
        "iss": claims.issuer,
        "sub": claims.subject,
        "client_id": claims.client_id,
        "aud": list(claims.audience),
        "scope": " ".join(claims.scope),
        "iat": claims.issued_at,
        "exp": claims.expires_at,
        "jti": claims.jwt_id,
        **({} if claims.confirmation is None else format_confirmation(claims.confirmation)),
        **claims.other,
    }
    if as_json:
        say_json({"valid": True, "claims": members})
        return
    say("The token is valid.")
    for name, value in members.items():
        say(f"  {name:{_LABEL_WIDTH}}{_text(name, value)}")


def _text(name: str, value: object) -> str:
    match name, value:
        case ("iat" | "exp", int() | float()):
            return format_time(float(value))
        case _, list():
            return " ".join(str(item) for item in value)
        case _:
            return str(value)
