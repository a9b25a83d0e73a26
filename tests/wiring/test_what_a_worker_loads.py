"""What takes memory is loaded where it is used, and a worker that only serves uses none of it."""

import subprocess
import sys

PROGRAM = """
import sys
from click.testing import CliRunner
from mtls_as.cli.serve import serve

assert CliRunner().invoke(serve, ["--config", "missing.toml"]).exit_code
import mtls_as.wiring
unused = {"alembic", "httpcore", "jsonschema", "pygments", "rich", "sqlalchemy.dialects.postgresql"}
print(*sorted(unused & set(sys.modules)))
"""


def test_a_worker_does_without_what_only_commands_and_options_need() -> None:
    """Each of them takes megabytes, for every worker: see docs/performance.md."""
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (result.stdout.strip(), result.stderr) == ("", "")
