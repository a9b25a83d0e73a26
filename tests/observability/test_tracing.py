"""Traces: a collector on loopback decodes what the real SDK sends; a server without traces knows nothing of them."""

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from mtls_as.config import ConfigurationError, load_settings
from mtls_as.wiring.tracing import open_tracing
from tests.authority import Authority, Identity, dns, self_signed
from tests.running import Deployment, RunningServer, running

AUTHORITY = Authority.create("Partner CA")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@dataclass
class Collector:
    """An OTLP/HTTP collector: what it was sent, decoded."""

    url: str
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)

    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/x-protobuf"
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            made.requests.append(ExportTraceServiceRequest.FromString(body))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Collector(f"http://127.0.0.1:{server.server_address[1]}/v1/traces")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def deployment(folder: Path, collector: Collector, *, sample: float = 1.0) -> Deployment:
    made = Deployment(folder, admin=True)
    made.trust("default", AUTHORITY).client("c1", tls_client_auth_san_dns="c1.example")
    made.sections.append(f'[tracing]\nendpoint = "{collector.url}"\nsample = {sample}\n')
    return made


@pytest.fixture
def identity() -> Identity:
    return AUTHORITY.issue("c1", san=[dns("c1.example")])


def ask(server: RunningServer, identity: Identity, headers: dict[str, str] | None = None) -> httpx.Response:
    form = {"grant_type": "client_credentials", "client_id": "c1"}
    with httpx.Client(verify=server.ssl_context(identity), trust_env=False) as client:
        return client.post(f"{server.url}/token", data=form, headers=headers)


def attributes(span: Span) -> dict[str, Any]:
    return {a.key: getattr(a.value, str(a.value.WhichOneof("value"))) for a in span.attributes}


def by_name(collector: Collector) -> dict[str, Span]:
    spans = {span.name: span for span in collector.spans()}
    assert spans
    return spans


def test_a_token_request_is_one_trace(tmp_path: Path, collector: Collector, identity: Identity) -> None:
    """In the caller's trace, with what it is made of below the request; the event names the trace."""
    with running(deployment(tmp_path, collector)) as server:
        assert ask(server, identity, {"traceparent": f"00-{TRACE}-{PARENT}-01"}).status_code == 200
        [event] = [event for event in server.events if event.endpoint == "token"]
    spans = by_name(collector)
    assert spans.keys() >= {"POST /token", "client authentication", "path verification", "signing"}
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE} == {event.trace_id}
    request = spans["POST /token"]
    assert (request.parent_span_id.hex(), request.kind) == (PARENT, Span.SPAN_KIND_SERVER)
    assert spans["client authentication"].parent_span_id == request.span_id
    assert spans["path verification"].parent_span_id == spans["client authentication"].span_id
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in spans.values())
    told = attributes(request)
    assert (told["http.request.method"], told["http.route"], told["http.response.status_code"]) == (
        "POST", "/token", 200,
    )  # fmt: skip
    assert (told["mtls_as.client_id"], told["mtls_as.outcome"], told["mtls_as.listener"]) == ("c1", "answered", "mtls")
    [resource] = {request.resource_spans[0].resource.SerializeToString() for request in collector.requests}
    assert b"mtls-as" in resource


def test_a_remembered_path_is_not_verified_again(tmp_path: Path, collector: Collector, identity: Identity) -> None:
    with running(deployment(tmp_path, collector)) as server:
        for _ in range(3):
            ask(server, identity)
    names = [span.name for span in collector.spans()]
    assert (names.count("POST /token"), names.count("path verification")) == (3, 1)


def test_a_refusal_tells_its_reason_and_no_detail(tmp_path: Path, collector: Collector) -> None:
    """What the client sent is in no span, nor is any token, or certificate."""
    with running(deployment(tmp_path, collector)) as server:
        ask(server, self_signed("c1"))
        ask(server, AUTHORITY.issue("secret-name", san=[dns("secret.example")]))
        answer = ask(server, AUTHORITY.issue("c1", san=[dns("c1.example")]))
    everything = b"".join(request.SerializeToString() for request in collector.requests)
    assert b"untrusted_issuer" in everything
    assert b"secret" not in everything
    assert answer.json()["access_token"].encode()[:30] not in everything
    authentications = [span for span in collector.spans() if span.name == "client authentication"]
    assert sorted(span.status.message for span in authentications) == ["", "subject_mismatch", "untrusted_issuer"]


def test_paths_that_anybody_can_invent_name_no_span(tmp_path: Path, collector: Collector) -> None:
    with running(deployment(tmp_path, collector)) as server:
        for path in ("jwks", "invented/1", "register/some-client", ".well-known/invented"):
            httpx.get(f"{server.url}/{path}", verify=server.ssl_context(), trust_env=False)
        httpx.get(
            f"{server.url}/.well-known/oauth-authorization-server/x", verify=server.ssl_context(), trust_env=False
        )
        httpx.request("INVENTED", f"{server.url}/jwks", verify=server.ssl_context(), trust_env=False)
    spans = [span for span in collector.spans() if span.kind == Span.SPAN_KIND_SERVER]
    metadata = "GET /.well-known/oauth-authorization-server"
    assert {span.name for span in spans} == {"GET /jwks", "GET", metadata, "HTTP /jwks"}
    methods = [each.value.string_value for span in spans for each in span.attributes if each.key.endswith(".method")]
    assert set(methods) == {"GET", "_OTHER"}


@pytest.mark.parametrize(
    "value",
    ["garbage", f"00-{TRACE}-{chr(48) * 16}-01", f"ff-{TRACE}-{PARENT}-01", "", f"00-{TRACE}-{PARENT}-01, x"],
)
def test_a_traceparent_that_is_none_begins_a_new_trace(
    tmp_path: Path, collector: Collector, identity: Identity, value: str
) -> None:
    """And the request is answered all the same."""
    with running(deployment(tmp_path, collector)) as server:
        assert ask(server, identity, {"traceparent": value}).status_code == 200
    request = by_name(collector)["POST /token"]
    assert request.parent_span_id == b""
    assert request.trace_id.hex() != TRACE


def test_callers_do_not_choose_what_is_recorded(tmp_path: Path, collector: Collector, identity: Identity) -> None:
    """A trace that they say is sampled is recorded no more often than others."""
    with running(deployment(tmp_path, collector, sample=0.0)) as server:
        assert ask(server, identity, {"traceparent": f"00-{TRACE}-{PARENT}-01"}).status_code == 200
    assert collector.spans() == []


def test_a_collector_that_is_away_costs_no_request(tmp_path: Path, identity: Identity) -> None:
    with running(deployment(tmp_path, Collector("http://127.0.0.1:1/v1/traces"))) as server:
        assert ask(server, identity).status_code == 200


def test_the_trace_goes_out_with_what_is_fetched(tmp_path: Path, collector: Collector, identity: Identity) -> None:
    """Here a question to an OCSP responder, in the middle of a request."""
    came: list[str | None] = []

    class Responder(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(self.headers.get("traceparent"))
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_error(503)

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Responder) as responder:
        thread = threading.Thread(target=responder.serve_forever)
        thread.start()
        made = deployment(tmp_path, collector)
        url = f"http://127.0.0.1:{responder.server_address[1]}/ocsp"
        made.sections[0] = made.sections[0].rstrip("\n") + f'\nocsp = "{url}"\nrevocation = "open"\n'
        with running(made) as server:
            assert ask(server, identity, {"traceparent": f"00-{TRACE}-{PARENT}-01"}).status_code == 200
        responder.shutdown()
        thread.join()
    assert came
    assert {str(value).split("-")[1] for value in came} == {TRACE}
    sent_from = {span.span_id.hex(): span.name for span in collector.spans()}
    assert {sent_from[str(value).split("-")[2]] for value in came} == {"revocation check"}


def test_a_server_without_traces_loads_nothing_of_it() -> None:
    """Nor does one that could."""
    script = "import sys, mtls_as.wiring.serving; print([m for m in sys.modules if m.startswith('opentelemetry')])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_without_the_extra_the_configuration_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    path = deployment(tmp_path, collector).write()
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "mtls_as.observability.tracing", raising=False)
    with pytest.raises(ConfigurationError, match=r"pip install 'mtls-as\[otel\]'"):
        open_tracing(load_settings(path))
