"""`mtls-as doctor`: what a client or a resource server would see, and what to do about it."""

import asyncio
import ipaddress
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from mtls_as.cli.options import ca_option, json_option
from mtls_as.cli.output import printable, say_json

if TYPE_CHECKING:
    from mtls_as.doctor.report import Report

_FILE = click.Path(path_type=Path)


@click.command(short_help="Look at a server as its clients would, and say what to do.")
@click.argument("url")
@click.option("--issuer", metavar="URL", help="The authorization server, where URL is a resource.")
@click.option("--client-id", metavar="ID", help="The client's name there; without it no token is asked for.")
@click.option("--cert", "certificate", type=_FILE, metavar="FILE", help="Its certificate chain, PEM, its own first.")
@click.option("--key", "private_key", type=_FILE, metavar="FILE", help="The private key of the certificate, PEM.")
@click.option("--scope", metavar="SCOPES", help="What to ask for, separated by spaces; else all that the client has.")
@click.option("--resource", metavar="URI", help="Whom the token is for; else as the resource calls itself.")
@click.option(
    "--follow", is_flag=True, help="Talk to the servers on other hosts that the given ones name; else you are asked."
)
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(0.1, 60),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for each step.",
)
@ca_option
@json_option
@click.pass_context
def doctor(
    ctx: click.Context,
    url: str,
    issuer: str | None,
    client_id: str | None,
    certificate: Path | None,
    private_key: Path | None,
    scope: str | None,
    resource: str | None,
    follow: bool,
    seconds: float,
    ca: Path | None,
    *,
    as_json: bool,
) -> None:
    """Look at URL, an authorization server's issuer or a resource, as a client with the certificate would see it.

    It looks at DNS, TLS, certificates, clocks, metadata, a token and its binding, and at what the resource says with
    the token, without it, and to a thief who has it without the certificate. Each finding has a stable name, and each
    failure says who can do what about it. Tokens are not printed. The exit status is 1 if something failed.

    \b
    Examples:
      mtls-as doctor https://as.example
      mtls-as doctor https://api.example/reports --issuer https://as.example \\
          --client-id reports --cert reports.pem --key reports-key.pem
    """
    from mtls_as.doctor.observe import Wanted, observe
    from mtls_as.doctor.report import examine

    _check_url(url, "URL")
    _check_issuer(issuer)
    if (certificate is None) != (private_key is None):
        raise click.UsageError("--cert and --key go together.")
    _check_ca(ca)
    wanted = Wanted(
        url=url,
        issuer=issuer,
        client_id=client_id,
        certificate=certificate,
        private_key=private_key,
        ca=ca,
        scope=scope,
        resource=resource,
        may_ask=_consent(follow=follow, as_json=as_json),
        seconds=seconds,
    )
    logging.getLogger("asyncio").addHandler(logging.NullHandler())  # what fails is a finding, and is said once
    report = examine(asyncio.run(observe(wanted)))
    _say(report, as_json=as_json)
    if not report.is_good:
        ctx.exit(1)


def _say(report: "Report", *, as_json: bool) -> None:
    from mtls_as.cli.doctor_output import say_report

    if as_json:
        say_json(report.members())
    else:
        say_report(report)


def _check_url(url: str, name: str) -> None:
    from mtls_as.rfc.rfc3986_uri import is_http_url, is_https_url

    if is_https_url(url):
        return
    if not is_http_url(url):
        raise click.UsageError(f"{name} is an https URL with a host, and without fragment and user information.")
    if not _is_loopback(urlsplit(url).hostname or ""):
        raise click.UsageError(f"{name} is https: plain http is looked at on this machine alone.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_issuer(issuer: str | None) -> None:
    from mtls_as.rfc.rfc8414_metadata import MetadataError, metadata_url

    if issuer is None:
        return
    try:
        metadata_url(issuer)
    except MetadataError as error:
        raise click.UsageError(f"--issuer: {error}.") from None


def _check_ca(ca: Path | None) -> None:
    from mtls_as.cli.files import FileError, trusting_context

    try:
        trusting_context(ca)
    except FileError as error:
        raise click.UsageError(f"--ca: {error}.") from None


def _consent(*, follow: bool, as_json: bool) -> Callable[[str, str], bool]:
    """Whether others than the named servers may be talked to: by --follow, or asked of whoever sits there."""

    def ask(place: str, named_by: str) -> bool:
        if follow or as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return follow
        return click.confirm(f"{printable(named_by)} names {printable(place)}. Look at that, too?", err=True)

    return ask
