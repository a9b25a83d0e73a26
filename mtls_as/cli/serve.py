"""`mtls-as serve` and `mtls-as check-config`."""

import asyncio
import sys
from pathlib import Path

import click

from mtls_as.cli.options import config_option
from mtls_as.cli.output import printable, say


@click.command(short_help="Run the authorization server.")
@config_option
def serve(config: Path) -> None:
    """Serve until SIGTERM or Ctrl-C; requests under way are answered first. SIGHUP reloads at once.

    Everything is read and checked before the first socket is bound. Each request writes one line of JSON to standard
    output: what was asked, by whom, and why it was refused.

    \b
    Example:
      mtls-as serve --config config.toml
    """
    # httpx loads rich and pygments for its own command line, where they are: 6 MiB of each worker. It does without.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type] # None is how Python marks what is not to be had
    from mtls_as import wiring

    wiring.serve(config)


@click.command("check-config", short_help="Check a configuration as `serve` would.")
@config_option
def check_config(config: Path) -> None:
    """Check a configuration as `serve` would: the file, the certificates and keys it names, the database.

    \b
    Example:
      mtls-as check-config --config config.toml
    """
    from mtls_as import wiring
    from mtls_as.config import load_settings
    from mtls_as.pki.trust_domains import TrustDomains

    settings = load_settings(config)
    asyncio.run(wiring.check(settings))
    for algorithm in settings.keys.experimental:
        message = f"{algorithm} is experimental: resource servers must opt into it, and it may change"
        click.echo(f"mtls-as: warning: {message}", err=True)
    for warning in TrustDomains.load(settings.trust_domains, base=settings.folder).warnings:
        click.echo(f"mtls-as: warning: {printable(warning)}", err=True)
    say(f"{config} is good.")
