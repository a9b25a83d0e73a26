"""What `docs/gateway.md` and the examples name is what there is."""

import re

import pytest

from mtls_as.gateway.identity import MEMBERS
from mtls_as.gateway.questions import PROXIES
from tests.gateway.running import EXAMPLES

DOCUMENT = (EXAMPLES.parents[1] / "gateway.md").read_text()


def test_every_header_is_described() -> None:
    assert re.findall(r"^\| `X-Token-([A-Za-z-]+)` \|", DOCUMENT, re.MULTILINE) == list(MEMBERS)


def test_nginx_replaces_or_removes_every_header() -> None:
    """nginx has no rule for all names with a prefix."""
    named = re.findall(r"proxy_set_header X-Token-([A-Za-z-]+) ", (EXAMPLES / "nginx.conf").read_text())
    assert sorted(named) == sorted(MEMBERS)


def test_every_proxy_has_its_row() -> None:
    assert sorted(re.findall(r'\| `"([a-z]+)"` \|', DOCUMENT)) == sorted(PROXIES)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)", DOCUMENT))))
def test_links_lead_somewhere(target: str) -> None:
    assert (EXAMPLES.parents[1] / target).exists()
