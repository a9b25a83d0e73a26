"""The form of tokens, and who may introspect them."""

from pathlib import Path

import pytest

from mtls_as.server.resources import TokenFormat
from tests.config.test_load_settings import MINIMAL, load, problems, with_key

CLIENT_ID = "must be a client_id: 1 to 256 printable ASCII characters without spaces"


def with_resource(*lines: str, tokens: str = "") -> str:
    """The minimal file with further lines of its resource, and of `[tokens]`."""
    text = MINIMAL
    for line in lines:
        text = text.replace("[[resources]]", f"[[resources]]\n{line}", 1)
    return f"{text}\n[tokens]\n{tokens}\n" if tokens else text


def test_the_defaults(tmp_path: Path) -> None:
    """JWTs, which nobody introspects."""
    settings = load(tmp_path, MINIMAL)
    assert settings.tokens.format is TokenFormat.JWT
    (resource,) = settings.resources
    assert (resource.token_format, resource.introspection_clients) == (None, ())


def test_a_resource_chooses(tmp_path: Path) -> None:
    """Its own form, and clients that need not be declared here: they may be stored."""
    text = with_resource('token_format = "opaque"', 'introspection_clients = ["api", "other"]')
    (resource,) = load(tmp_path, text).resources
    assert (resource.token_format, resource.introspection_clients) == (TokenFormat.OPAQUE, ("api", "other"))


@pytest.mark.parametrize(
    "text",
    [
        with_resource('token_format = "opaque"'),
        with_resource('token_format = "opaque"', "introspection_clients = []"),
        with_resource(tokens='format = "opaque"'),
    ],
)
def test_opaque_tokens_that_nobody_could_read(tmp_path: Path, text: str) -> None:
    found = problems(tmp_path, text)
    assert found.keys() == {"resources[0].introspection_clients"}
    assert "what an opaque token means" in found["resources[0].introspection_clients"]


def test_a_resource_may_keep_jwts_where_others_are_opaque(tmp_path: Path) -> None:
    settings = load(tmp_path, with_resource('token_format = "jwt"', tokens='format = "opaque"'))
    assert settings.tokens.format is TokenFormat.OPAQUE


def test_mistakes(tmp_path: Path) -> None:
    """Each with its place."""
    text = with_resource('token_format = "opaqe"', 'introspection_clients = ["a b"]')
    assert problems(tmp_path, text) == {
        "resources[0].token_format": 'must be "jwt" or "opaque"; did you mean "opaque"?',
        "resources[0].introspection_clients[0]": CLIENT_ID,
    }
    assert "tokens.format" in problems(tmp_path, with_key("[tokens]", 'format = "JWT"'))
