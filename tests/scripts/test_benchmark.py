"""The benchmark runs, and no wrong answer gets past it; its figures are for whoever runs it on a quiet machine."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.cli.workplace import ROOT
from tests.programs import require_program

THUMBPRINT = "t" * 43
OPTIMIZED = "configured with --enable-optimizations --with-lto"
NEW_ENOUGH = "import sys; sys.exit(sys.version_info < (3, 11))"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    command = [sys.executable, "-m", "benchmark", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture(autouse=True)
def _scripts_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


@pytest.mark.slow
def test_it_compares_tokens_over_new_connections_with_the_peer_and_the_limit(tmp_path: Path) -> None:
    """One round of a second: each contender is asked, all tokens are judged, and the table has a row."""
    for program in ("wrk", "nginx", "node", "npm", "taskset"):
        require_program(program)
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    result = run("--quick", "--only", "token-new", "--json", str(tmp_path / "found.json"))
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    (row,) = found["rows"]
    assert set(row["measured"]) == {"here", "peer", "limit"}
    assert all(run["requests_per_second"] > 0 for runs in row["measured"].values() for run in runs)
    assert [goal["unit"] for goal in row["goals"]] == ["times the peer", "times the limit"]
    assert "| token, a new mutual TLS 1.3 connection each |" in result.stdout


def test_the_table_of_the_readme_is_that_of_the_recorded_run() -> None:
    """`--write-readme` was used, and nobody edited the table by hand."""
    result = run("--table", "docs/benchmark.json")
    assert result.returncode == 0, result.stderr
    before, _, rest = (ROOT / "README.md").read_text().partition("<!-- benchmark:")
    table = rest.partition("-->")[2].partition("<!-- end of benchmark -->")[0].strip()
    assert before
    assert table == result.stdout.strip()


def test_the_recorded_run_has_every_row_and_was_made_with_everything() -> None:
    """All rows of the benchmark, each with its goals and what was measured."""
    found = json.loads((ROOT / "docs" / "benchmark.json").read_text())
    keys = [row["key"] for row in found["rows"]]
    wanted = ["token-new", "token-kept", "introspection", "tail", "workers", "verify-first", "verify-again"]
    assert keys[: len(wanted) + 2] == [*wanted, "memory-idle", "memory-rest"]
    assert all(row["goals"] and row["figures"]["here"] for row in found["rows"])


def test_what_is_missing_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without wrk on the search path the benchmark names its package, and ends."""
    monkeypatch.setenv("PATH", "/nonexistent")
    result = run("--only", "token-new")
    assert result.returncode == 1
    assert "apt-get install" in result.stderr
    assert "wrk" in result.stderr


@pytest.fixture
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def answer(key: ec.EllipticCurvePrivateKey, *, jti: str = "1", typ: str = "at+jwt", **claims: Any) -> str:
    usual = {
        "iss": "https://localhost",
        "aud": "https://localhost:8445",
        "exp": int(time.time()) + 300,
        "client_id": "reports",
        "scope": "reports:read",
        "jti": jti,
        "cnf": {"x5t#S256": THUMBPRINT},
    }
    token = jwt.encode(usual | claims, key, "ES256", headers={"typ": typ, "kid": "k"})
    return json.dumps({"access_token": token, "token_type": "Bearer"})


def judge(file: Path, key: ec.EllipticCurvePrivateKey, *answers: str) -> None:
    from benchmark.answers import judge_of_tokens

    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    file.write_text("".join(f"{line}\n" for line in answers))
    judge_of_tokens({"keys": [jwk | {"kid": "k", "alg": "ES256"}]}, THUMBPRINT)(file)


def test_right_tokens_are_taken(tmp_path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """What the wrong ones below differ from."""
    judge(tmp_path / "answers", key, answer(key), answer(key, jti="2"))


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"cnf": {"x5t#S256": "u" * 43}}, id="other certificate"),
        pytest.param({"cnf": {}}, id="no binding"),
        pytest.param({"aud": "https://other.example"}, id="other audience"),
        pytest.param({"exp": 1}, id="expired"),
        pytest.param({"scope": "reports:write"}, id="other scope"),
        pytest.param({"jti": "1"}, id="same token twice"),
        pytest.param({"typ": "JWT"}, id="other type"),
    ],
)
def test_a_wrong_token_ends_the_benchmark(
    tmp_path: Path, key: ec.EllipticCurvePrivateKey, claims: dict[str, Any]
) -> None:
    """One among right ones is enough."""
    from benchmark.failures import BenchmarkError

    with pytest.raises(BenchmarkError):
        judge(tmp_path / "answers", key, answer(key), answer(key, **({"jti": "2"} | claims)))


def test_a_token_of_another_key_ends_the_benchmark(tmp_path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Signatures are verified."""
    from benchmark.failures import BenchmarkError

    with pytest.raises(BenchmarkError):
        judge(tmp_path / "answers", key, answer(ec.generate_private_key(ec.SECP256R1())))


@pytest.mark.parametrize(
    ("configured", "told"),
    [
        pytest.param("'--enable-optimizations' '--with-lto' '--prefix=/usr/local'", OPTIMIZED, id="official image"),
        pytest.param("'--enable-shared' 'LDFLAGS=-L/lib'", "configured without --enable-optimizations", id="plain"),
        pytest.param("'--prefix=/opt/--with-lto'", "configured without --enable-optimizations", id="in a path"),
        pytest.param(None, None, id="not kept"),
    ],
)
def test_of_an_interpreter_is_told_what_it_tells_of_its_build(configured: str | None, told: str | None) -> None:
    """No more than that: where no arguments were kept, nothing is said of optimizations."""
    from benchmark.interpreter import build

    assert build(configured) == told


def test_an_interpreter_of_a_package_is_named_by_it() -> None:
    """Debian's keeps the arguments of another build, so that the package is what can be said."""
    system = Path("/usr/bin/python3")
    owner = ["/usr/bin/env", "dpkg-query", "--search", system.resolve()]
    if subprocess.run(owner, check=False, capture_output=True).returncode:
        pytest.skip("needs a Python of Debian or Ubuntu")
    command = [system, "-c", "from benchmark.interpreter import describe; print(describe())"]
    environment = {"PYTHONPATH": str(ROOT / "scripts"), "PATH": os.environ["PATH"]}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"3\.\d+\.\d+\S* \(CPython, package python3\.\d+\S* \S+\)\n", told)


def chosen(folder: Path, *options: str, **variables: str) -> str:
    """For whom, in which environment and of which Python the script would install the project in that folder."""
    scripts = folder / "scripts"
    shutil.copytree(ROOT / "scripts", scripts, ignore=lambda _, names: set(names) - {"bench", "environment.sh"})
    with (scripts / "environment.sh").open("a") as file:
        file.write('prepare_environment() { echo "$1 $venv ${PYTHON:-}"; exit; }\n')
    variables = {"PATH": os.environ["PATH"]} | variables
    result = subprocess.run([scripts / "bench", *options], env=variables, capture_output=True, text=True, check=True)
    return result.stdout.replace(str(folder), "").strip()


def test_it_runs_on_the_python_of_the_system_unless_told_otherwise(tmp_path: Path) -> None:
    """In an environment of its own, with what the tests need where a row is measured by them."""
    if subprocess.run(["/usr/bin/env", "/usr/bin/python3", "-c", NEW_ENOUGH], check=False).returncode:
        pytest.skip("needs a Python of the system that is new enough")
    assert chosen(tmp_path / "a") == "server /.venv-bench /usr/bin/python3"
    assert chosen(tmp_path / "b", "--scale") == "dev /.venv-bench /usr/bin/python3"
    assert chosen(tmp_path / "c", MTLS_AS_VENV="/other") == "server /other"
    assert chosen(tmp_path / "d", PYTHON="python3.13") == "server /.venv python3.13"
