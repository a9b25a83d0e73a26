"""The command `mtls-as` as a whole: its groups, and the one place where exceptions become a line and an exit status."""

import os
import sys
from typing import Any, NoReturn

import click

from mtls_as import __version__
from mtls_as.cli.audit import audit
from mtls_as.cli.cert import cert
from mtls_as.cli.client import client
from mtls_as.cli.db import db
from mtls_as.cli.doctor import doctor
from mtls_as.cli.errors import explain
from mtls_as.cli.gateway import gateway
from mtls_as.cli.health import health
from mtls_as.cli.init import init
from mtls_as.cli.inventory import inventory
from mtls_as.cli.keys import keys
from mtls_as.cli.output import printable
from mtls_as.cli.registration_tokens import registration
from mtls_as.cli.reload import reload
from mtls_as.cli.revoke import revoke
from mtls_as.cli.serve import check_config, serve
from mtls_as.cli.token import token
from mtls_as.cli.trust import trust
from mtls_as.cli.verify import verify

_EXIT_FAILURE = 1
_EXIT_INTERRUPTED = 130


class Application(click.Group):
    """A group whose errors are one line each on standard error: status 2 for wrong usage, 1 for everything else."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ANN401 - click's own signature has overloads
        """Run a command line and exit."""
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)  # the help of a group that was called without a command
            sys.exit(error.exit_code)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "mtls-as"
            _fail(f"{error.format_message()} (see {command} --help)", error.exit_code)
        except click.ClickException as error:
            _fail(error.format_message(), error.exit_code)
        except click.Abort:
            _fail("interrupted", _EXIT_INTERRUPTED)
        except BrokenPipeError:
            # Whoever read the output has seen enough; the interpreter must not complain about it at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(_EXIT_FAILURE)
        except Exception as error:
            message = explain(error)
            if message is None:
                raise
            _fail(message, _EXIT_FAILURE)
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        click.echo(f"mtls-as: {printable(line)}", err=True)
    sys.exit(code)


@click.group(cls=Application, name="mtls-as")
@click.version_option(__version__, prog_name="mtls-as", message="%(prog)s %(version)s")
def application() -> None:
    """Access tokens that are bound to the client's certificate (RFC 8705).

    \b
    A first server, with a development PKI:
      mtls-as init --development
      mtls-as serve
    """


cert.add_command(inventory)
application.add_command(audit)
for _command in (
    init,
    db,
    serve,
    check_config,
    gateway,
    health,
    client,
    cert,
    trust,
    token,
    verify,
    doctor,
    keys,
    revoke,
    registration,
    reload,
):
    application.add_command(_command)
