"""The command line `mtls-as`: one module per command or group of commands; nothing is decided here."""

import sys


def main() -> None:
    """The entry point of `mtls-as`."""
    try:
        import click  # noqa: F401 - asks only whether it is there: the base install has no command line
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit("mtls-as: the command line comes with the server: pip install 'mtls-as[server]'")
    from mtls_as.cli.application import application

    application()
