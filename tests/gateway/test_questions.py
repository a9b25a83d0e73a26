"""How each proxy says which request it asks about: recorded or documented forms, and what is none."""

import pytest

from mtls_as.gateway.questions import FORMS, Asked, Headers, NoQuestion, ProxyName

ASKED = Asked(method="DELETE", path="/reports/caf%C3%A9", query=b"a=%2F&b=?")
URI = b"/reports/caf%C3%A9?a=%2F&b=?"

# What the gateway receives, by each proxy's own rules: headers, and the request line.
QUESTIONS: dict[ProxyName, tuple[Headers, tuple[str, str, bytes]]] = {
    "nginx": ([(b"x-original-method", b"DELETE"), (b"x-original-uri", URI)], ("DELETE", "/check", b"")),
    "haproxy": ([(b"x-original-method", b"DELETE"), (b"x-original-uri", URI)], ("GET", "/check", b"")),
    # Recorded from Traefik 3.6.0, whose client had sent X-Forwarded-Uri and X_Forwarded_Uri.
    "traefik": (
        [
            (b"x-forwarded-for", b"192.0.2.1"), (b"x-forwarded-host", b"api.example"),
            (b"x-forwarded-method", b"DELETE"), (b"x-forwarded-port", b"443"), (b"x-forwarded-proto", b"https"),
            (b"x-forwarded-server", b"proxy"), (b"x-forwarded-uri", URI), (b"x-real-ip", b"192.0.2.1"),
            (b"x_forwarded_uri", b"/y"),
        ],
        ("GET", "/check", b""),
    ),
    # Envoy, ext_authz: path_prefix before the path, the method as it was.
    "envoy": ([], ("DELETE", "/check/reports/caf%C3%A9", b"a=%2F&b=?")),
}  # fmt: skip


@pytest.mark.parametrize("proxy", QUESTIONS)
def test_the_question_of_each_proxy(proxy: ProxyName) -> None:
    headers, (method, path, query) = QUESTIONS[proxy]
    form = FORMS[proxy]
    assert form.is_question(path)
    assert form.read(headers=headers, method=method, path=path, query=query) == ASKED


@pytest.mark.parametrize("proxy", ["nginx", "haproxy", "traefik"])
def test_a_header_that_is_missing_or_repeated_is_no_question(proxy: ProxyName) -> None:
    """Never the first of two: one of them may be the client's."""
    headers, (method, path, query) = QUESTIONS[proxy]
    names = [FORMS[proxy].method, FORMS[proxy].uri]  # type: ignore[union-attr] # these three have headers
    for name in names:
        without = [header for header in headers if header[0] != name]
        for wrong in (without, [*headers, (name, b"/reports")], [*headers, (name.upper(), b"GET")]):
            with pytest.raises(NoQuestion):
                FORMS[proxy].read(headers=wrong, method=method, path=path, query=query)


@pytest.mark.parametrize("method", [b"", b"GET /", b"G\xc3\x89T", b"A" * 33])
def test_a_method_that_is_none(method: bytes) -> None:
    headers = [(b"x-original-method", method), (b"x-original-uri", b"/")]
    with pytest.raises(NoQuestion):
        FORMS["nginx"].read(headers=headers, method="GET", path="/check", query=b"")


@pytest.mark.parametrize("uri", [b"", b"reports", b"*", b"http://api.example/", b"?x", b"/" + b"a" * 16384])
def test_a_uri_that_is_none(uri: bytes) -> None:
    headers = [(b"x-original-method", b"GET"), (b"x-original-uri", uri)]
    with pytest.raises(NoQuestion):
        FORMS["nginx"].read(headers=headers, method="GET", path="/check", query=b"")


def test_other_paths_are_no_questions() -> None:
    assert not FORMS["nginx"].is_question("/check/x")
    assert not FORMS["envoy"].is_question("/check")
    assert not FORMS["envoy"].is_question("/checkx/y")
