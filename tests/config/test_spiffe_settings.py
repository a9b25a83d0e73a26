"""`[spiffe.…]`: where bundles come from, and what contradicts itself."""

from pathlib import Path

import pytest

from mtls_as.rfc.spiffe_id import parse_spiffe_id
from mtls_as.server.clients import ClientSource, parse_client
from mtls_as.server.spiffe_federation import BundleEndpoint, SpiffeDomainSettings
from tests.config.test_load_settings import MINIMAL, load, problems

CLIENT = """
[[clients]]
client_id = "workload"
token_endpoint_auth_method = "spiffe_x509"
spiffe_id = "spiffe://td.example/a"
"""


def with_domain(lines: str, name: str = '"td.example"') -> str:
    return f"{MINIMAL}\n[spiffe.{name}]\n{lines}\n"


def test_files_and_endpoints(tmp_path: Path) -> None:
    """Paths are relative to the file."""
    text = with_domain('bundle = "a.json"')
    text += '[spiffe.web]\nbundle_endpoint = "https://a.example/"\nbundle_endpoint_ca = "ca.pem"\n'
    text += '[spiffe.own]\nbundle = "own.json"\nbundle_endpoint = "https://b.example/b"\n'
    text += 'bundle_endpoint_spiffe_id = "spiffe://own/server"\n'
    assert load(tmp_path, text).spiffe_domains == (
        SpiffeDomainSettings(trust_domain="td.example", bundle=tmp_path / "a.json"),
        SpiffeDomainSettings(
            trust_domain="web", endpoint=BundleEndpoint(url="https://a.example/", ca=tmp_path / "ca.pem")
        ),
        SpiffeDomainSettings(
            trust_domain="own",
            bundle=tmp_path / "own.json",
            endpoint=BundleEndpoint(url="https://b.example/b", server=parse_spiffe_id("spiffe://own/server")),
        ),
    )


@pytest.mark.parametrize("name", ['"Td.example"', '"td.example:1"', '"spiffe://td.example"', '""', '"tä.example"'])
def test_names(tmp_path: Path, name: str) -> None:
    """SPIFFE-ID §2.1."""
    (place,) = problems(tmp_path, with_domain('bundle = "a.json"', name))
    assert place.startswith("spiffe.")


@pytest.mark.parametrize(
    ("lines", "key", "message"),
    [
        ("", "", "needs bundle, bundle_endpoint or both"),
        ('bundel = "a.json"\nbundle = "a.json"', "bundel", 'did you mean "bundle"?'),
        ('bundle = ""', "bundle", "not empty"),
        ('bundle_endpoint = "http://a.example/"', "bundle_endpoint", "https URL"),
        ('bundle_endpoint = "https://u@a.example/"', "bundle_endpoint", "https URL"),
        ('bundle = "a"\nbundle_endpoint_ca = "ca.pem"', "bundle_endpoint_ca", "belongs to bundle_endpoint"),
        (
            'bundle = "a"\nbundle_endpoint_spiffe_id = "spiffe://td.example/a"',
            "bundle_endpoint_spiffe_id",
            "belongs to bundle_endpoint",
        ),
        (
            'bundle = "a"\nbundle_endpoint = "https://a.example"\nbundle_endpoint_spiffe_id = "spiffe://td.example"',
            "bundle_endpoint_spiffe_id",
            "names no workload",
        ),
        (
            'bundle = "a"\nbundle_endpoint = "https://a.example"\nbundle_endpoint_spiffe_id = "spiffe://x.example/a"',
            "bundle_endpoint_spiffe_id",
            'there is no SPIFFE trust domain "x.example"',
        ),
        (
            'bundle_endpoint = "https://a.example"\nbundle_endpoint_spiffe_id = "spiffe://td.example/a"',
            "bundle",
            "the first bundle must prove who serves the endpoint",
        ),
        (
            """
            bundle_endpoint = "https://a.example"
            bundle_endpoint_ca = "ca.pem"
            bundle_endpoint_spiffe_id = "spiffe://td.example/a"
            bundle = "a"
            """,
            "bundle_endpoint_spiffe_id",
            "not by both",
        ),
    ],
)
def test_problems(tmp_path: Path, lines: str, key: str, message: str) -> None:
    found = problems(tmp_path, with_domain(lines))
    place = 'spiffe."td.example"' + (f".{key}" if key else "")
    assert list(found) == [place]
    assert message in found[place]


def test_a_client_s_trust_domain_is_configured(tmp_path: Path) -> None:
    """For declared clients and for stored ones; the near miss is named."""
    settings = load(tmp_path, with_domain('bundle = "a.json"') + CLIENT)
    stored = {"token_endpoint_auth_method": "spiffe_jwt", "spiffe_id": "spiffe://td.example/*", "client_id": "b"}
    assert settings.find_client_problems(parse_client(stored, ClientSource.STORAGE)) == ()
    stored["spiffe_id"] = "spiffe://td.exampel/a"
    ((member, message),) = settings.find_client_problems(parse_client(stored, ClientSource.STORAGE))
    assert (member, message) == (
        "spiffe_id",
        'there is no SPIFFE trust domain "td.exampel"; did you mean "td.example"?',
    )
    assert list(problems(tmp_path, MINIMAL + CLIENT)) == ["clients[1].spiffe_id"]
