"""`mtls-as health`: asks the server on this machine whether it can serve, for container engines and cron."""

import json
import ssl
from pathlib import Path
from typing import Any, Final

import click

from mtls_as.cli.options import config_option, json_option
from mtls_as.cli.output import say, say_json

_SECONDS: Final = 5.0
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - what stands in a file, not bound here


@click.command(short_help="Ask the server on this machine whether it can serve.")
@config_option
@json_option
def health(config: Path, *, as_json: bool) -> None:
    """Ask the admin listener of the configuration whether the server can serve; the exit status is 1 if it cannot.

    \b
    Example:
      mtls-as health --config /etc/mtls-as/config.toml
    """
    from mtls_as.config import load_settings

    settings = load_settings(config)
    bind = settings.listeners.admin_bind
    if bind is None:
        raise click.ClickException("the configuration has no [listeners.admin], which is who could tell")
    answer = _ask(bind, settings.tls.certificate)
    if as_json:
        say_json(answer)
    for name, check in answer["checks"].items() if not as_json else ():
        say(f"{'passed' if check['passed'] else 'FAILED'}  {name}: {check['detail']}")
    if not answer["ready"]:
        raise click.ClickException("the server cannot serve now")


def _ask(bind: str, certificate: Path) -> dict[str, Any]:
    import httpx

    host, _, port = bind.rpartition(":")
    url = f"https://{_ANY_ADDRESS.get(host, host)}:{port}/health/ready"
    try:
        response = httpx.get(url, verify=_only(certificate), trust_env=False, timeout=_SECONDS)
        answer: dict[str, Any] = response.json()
        if "ready" not in answer:
            reason = answer.get("error_description", "which is no readiness")
            raise click.ClickException(f"{url} answers {response.status_code}: {reason}")
    except httpx.HTTPError as error:
        raise click.ClickException(f"{url} does not answer: {error}") from None
    except json.JSONDecodeError:
        raise click.ClickException(f"{url} answers {response.status_code} and no JSON") from None
    return answer


def _only(certificate: Path) -> ssl.SSLContext:
    """A context for the very certificate of the configuration, by whichever name: it names clients' URL, not this."""
    from mtls_as.cli.files import read_certificates

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=read_certificates(certificate)[0].der)
    return context
