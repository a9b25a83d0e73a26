"""`mtls-as trust`: the trust domains that a running server goes by."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from mtls_as.cli.options import json_option, server_options
from mtls_as.cli.output import printable, say_json, say_listing

if TYPE_CHECKING:
    from mtls_as.cli.remote import Connection

_COLUMNS: Final = ("name", "anchors", "soonest_end", "revocation", "lists", "next_update", "problems")


@click.group()
def trust() -> None:
    """Look at the trust domains that a running server goes by."""


@trust.command("list", short_help="List the trust domains in force.")
@server_options
@json_option
def list_(server: "Connection | None", *, as_json: bool) -> None:
    """List the trust domains of the generation in force: their anchors, and what is known of revocation.

    `soonest_end` is that of an anchor, `next_update` the earliest that a list promises. --json shows each anchor and
    each list. What is wrong goes to standard error. Trust domains change with the configuration alone.

    \b
    Example:
      mtls-as trust list --server admin.toml
    """
    from mtls_as.server.endpoints.admin.routes import SHOW_TRUST

    if server is None:
        raise click.UsageError("Missing option '--server'.")
    shown = server.call(SHOW_TRUST)
    if as_json:
        say_json(shown)
        return
    say_listing([_row(domain) for domain in shown["domains"]], _COLUMNS, as_json=False)
    for domain in shown["domains"]:
        for each in domain["revocation"]["problems"]:
            _warn(f"{domain['name']}: {each['source']}: {each['problem']}")
    for warning in shown["warnings"]:
        _warn(warning)


def _row(domain: Mapping[str, Any]) -> Mapping[str, object]:
    revocation = domain["revocation"]
    is_checked = revocation["sources"] or revocation["responder"]
    return {
        "name": domain["name"],
        "anchors": len(domain["anchors"]),
        "soonest_end": min((anchor["not_after"] for anchor in domain["anchors"]), default=None),
        "revocation": f"fails {revocation['fails']}" if is_checked else "not checked",
        "lists": len(revocation["lists"]),
        "next_update": min((each["next_update"] for each in revocation["lists"]), default=None),
        "problems": len(revocation["problems"]),
    }


def _warn(text: str) -> None:
    click.echo(f"mtls-as: {printable(text)}", err=True)
