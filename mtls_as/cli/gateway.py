"""`mtls-as gateway`: checks tokens for services behind a proxy."""

from pathlib import Path

import click

from mtls_as.cli.output import say


@click.command(short_help="Check access tokens for the services behind a proxy.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("gateway.toml"),
    show_default=True,
    metavar="FILE",
    help="The configuration file.",
)
@click.option("--check", "only_check", is_flag=True, help="Check the configuration and the files it names, and end.")
def gateway(config: Path, *, only_check: bool) -> None:
    """Answer a proxy that asks about each request (nginx, HAProxy, Envoy, Traefik) until SIGTERM or Ctrl-C.

    A request is let in with an access token that is bound to the certificate of the proxy's client and has the scopes
    of its path; the service behind the proxy learns whose it is from headers. Each decision writes one line of JSON to
    standard output. SIGHUP reads the configuration and its files again.

    \b
    Example:
      mtls-as gateway --config gateway.toml
    """
    from mtls_as import gateway as gateways

    if only_check:
        gateways.check(config)
        say(f"{config} is good.")
    else:
        gateways.serve(config)
