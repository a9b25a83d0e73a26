"""What the doctor finds at resources: good ones, and those that protect less than they seem to."""

from tests.doctor.scene import Scene, diagnose, run


def test_a_good_server_and_a_good_resource_are_found_good(place: Scene) -> None:
    """Every check is made, and each is well."""
    found = place.diagnose_resource("guarded")
    assert (found.status, found.members["ok"]) == (0, True)
    assert set(found.statuses().values()) == {"ok"}
    assert found["resource/tls.version"]["seen"] == "TLS 1.3"
    assert found["issuer/tls.group"]["seen"] == "X25519MLKEM768 (post-quantum hybrid)"
    assert found["resource.without_token"]["seen"].endswith("/.well-known/oauth-protected-resource/guarded")
    assert found["resource.other_certificate"]["seen"].startswith("refused over a connection with a stranger's")


def test_a_resource_that_ignores_the_binding_is_the_loudest_failure(place: Scene) -> None:
    """RFC 8705 §3: our token works without our certificate, and with that of a stranger."""
    found = place.diagnose_resource("ignoring")
    assert found.status == 1
    assert found.failures() == ["resource/resource.without_certificate", "resource/resource.other_certificate"]
    for name in ("resource.without_certificate", "resource.other_certificate"):
        assert found[name]["seen"].startswith("A STOLEN TOKEN WORKS")
        assert "cnf.x5t#S256" in found.steps(name)


def test_a_proxy_that_drops_the_certificate_is_recognised(place: Scene) -> None:
    """The token is refused for want of a certificate, though one was asked for and sent."""
    found = place.diagnose_resource("dropping")
    assert found.failures() == ["resource/resource.with_token"]
    assert found["resource.with_token"]["seen"].endswith("something in front of the service drops it")
    assert "proxy_set_header X-SSL-Client-Cert" in found.steps("resource.with_token")
    assert found["resource.without_certificate"]["status"] == "skipped"


def test_a_resource_without_protection(place: Scene) -> None:
    """It answers everybody."""
    found = place.diagnose_resource("open")
    assert "NOT PROTECTED" in found["resource.without_token"]["seen"]
    assert found["resource.without_token"]["status"] == "failure"


def test_a_token_with_too_little_scope(place: Scene) -> None:
    """403 with the scope that is needed (RFC 6750 §3.1) becomes the option that asks for it."""
    found = place.diagnose_resource("writing")
    assert found.failures() == ["resource/resource.with_token"]
    assert found["resource.with_token"]["next"][0]["lines"] == ['--scope "reports:write"']


def test_a_path_that_is_not_there_tells_nothing(place: Scene) -> None:
    """A 404 is no proof of protection."""
    found = place.diagnose_resource("absent")
    assert found.failures() == []
    assert {found[f"resource.{name}"]["status"] for name in ("with_token", "without_certificate")} == {"warning"}


def test_a_server_that_repeats_the_token_gets_it_into_no_report(place: Scene) -> None:
    """Neither into the text nor into the JSON."""
    found = place.diagnose_resource("echoing")
    assert "[the token]" in found["resource.with_token"]["seen"]
    printed = run(place.resource("echoing"), "--issuer", place.issuer, "--resource", place.resource(), *place.client())
    for text in (found.output, printed.output):
        assert "Bearer ey" not in text
        assert "eyJ" not in text


def test_an_issuer_that_a_resource_names_is_asked_with_consent_alone(place: Scene) -> None:
    """`--follow` or `--issuer`; else the authorization server sees no request of ours."""
    before = len(place.server.events)
    found = diagnose(place.resource(), *place.client())
    assert len(place.server.events) == before
    assert found["metadata"]["status"] == "skipped"
    assert place.issuer in found["metadata"]["seen"]
    followed = diagnose(place.resource(), *place.client(), "--follow")
    assert set(followed.statuses().values()) == {"ok"}


def test_a_resource_is_recognised_by_what_it_says(place: Scene) -> None:
    """Without `--issuer`, by its challenge alone if it must be."""
    found = diagnose(place.resource("ignoring"), *place.client())
    assert found["resource.without_token"]["status"] == "ok"
    assert found["token"]["seen"] == "the authorization server is not known: give --issuer"


def test_without_a_certificate_there_is_no_token_and_all_else_is_looked_at(place: Scene) -> None:
    found = diagnose(place.resource(), "--issuer", place.issuer, "--ca", place.ca)
    assert found.status == 0
    assert found["own.files"]["status"] == found["token"]["status"] == "skipped"
    assert found["resource.with_token"]["status"] == "skipped"
    assert found["metadata.issuer"]["status"] == "ok"


def test_metadata_that_speak_for_another_resource(place: Scene) -> None:
    """RFC 9728 §7.3: whoever is asked cannot get a token that is for somebody else."""
    found = diagnose(place.resource("lying"), "--issuer", place.issuer, *place.client())
    assert found.failures()[0] == "token/token"
    assert "asked for: no resource" in found["token"]["seen"]
    assert found["resource.metadata"]["seen"] == "it speaks for another resource, https://bank.example/"


def test_metadata_that_do_not_name_the_issuer(place: Scene) -> None:
    """Its tokens are not taken, or the metadata are wrong."""
    found = diagnose(place.resource("elsewhere"), "--issuer", place.issuer, *place.client())
    assert "the resource does not name the issuer" in found["resource.metadata"]["seen"]
