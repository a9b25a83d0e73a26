"""PostgreSQL of this machine in the place of its image."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.deploy.image import Machine
from tests.programs import require_program

DATA: Final = "/var/lib/postgresql/data"
SOCKETS: Final = "/run/postgresql"
ROLE: Final = "mtls_as"


def programs() -> str:
    """The folder with the programs of the server."""
    return str(Path(require_program("postgres", folders="usr/lib/postgresql/*/bin")).parent)


@contextlib.contextmanager
def serving_database(
    machine: Machine, *, address: str, password_file: str, command: Sequence[str] = ("postgres",)
) -> Iterator[None]:
    """Initialised as the image does it, with a role and a database of the same name, and run by the command."""
    made = machine.run(
        "initdb", "--pgdata", DATA, "--username", ROLE, "--pwfile", password_file,
        "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    with (machine.written[DATA] / "pg_hba.conf").open("a") as access:
        access.write("host all all all scram-sha-256\n")
    with machine.running(*command, "-D", DATA, "-k", SOCKETS, "-h", address) as server:
        asked = ("pg_isready", f"--host={SOCKETS}", f"--username={ROLE}")
        server.wait_for(lambda: machine.run(*asked).returncode == 0)
        created = machine.run("createdb", f"--host={SOCKETS}", f"--username={ROLE}", ROLE)
        assert created.returncode == 0, created.stderr
        yield
