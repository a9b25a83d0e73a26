"""A resource behind a real nginx, with the documented configuration, and with what is missing from many others."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.odd_servers import OddIssuer, client_options
from tests.doctor.scene import REPORTS, Diagnosis, diagnose
from tests.forwarded import proxies
from tests.verifier.issuer import AUDIENCE
from tests.verifier.running import EXAMPLES, under_uvicorn_behind_nginx


@contextlib.contextmanager
def resource(folder: Path) -> Iterator[list[str]]:
    """The arguments that look at it as a client."""
    with (
        OddIssuer(folder).running() as issuer,
        under_uvicorn_behind_nginx(EXAMPLES / "uvicorn_resource_server.py", issuer.server, folder) as place,
    ):
        options = client_options(folder, REPORTS)
        (folder / "both.pem").write_text(issuer.server.authority.pem + place.ca)
        known = ["--issuer", issuer.server.url, "--resource", AUDIENCE, "--ca", str(folder / "both.pem")]
        yield [place.url + "/reports", *known, *options]


def look(folder: Path) -> Diagnosis:
    with resource(folder) as arguments:
        return diagnose(*arguments)


def test_the_documented_configuration_is_found_good(tmp_path: Path) -> None:
    found = look(tmp_path)
    assert found.failures() == []
    assert found["resource.with_token"]["seen"] == "200 with the token and its certificate"
    assert found["resource.other_certificate"]["status"] == "ok"


@pytest.mark.parametrize(
    ("line", "replacement", "word"),
    [
        ("$ssl_client_escaped_cert", '""', "something in front of the service drops it"),
        ("ssl_verify_client optional_no_ca;", "", "it does not ask for one"),
    ],
    ids=["not forwarded", "not asked for"],
)
def test_a_proxy_that_loses_the_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, replacement: str, word: str
) -> None:
    """Whether it never asks for one, or does not pass it on."""
    text = (proxies.SNIPPETS / "nginx.conf").read_text()
    assert text.count(line) == 1
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "nginx.conf").write_text(text.replace(line, replacement))
    monkeypatch.setattr(proxies, "SNIPPETS", changed)
    found = look(tmp_path)
    assert "resource/resource.with_token" in found.failures()
    assert found["resource.with_token"]["seen"].endswith(word)
    assert found["resource.without_certificate"]["status"] == "skipped"
