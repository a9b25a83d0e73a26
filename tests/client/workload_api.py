"""A SPIFFE Workload API on a unix socket, which gives what the test says, and streams what comes next."""

import contextlib
import queue
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe._proto import workload_pb2, workload_pb2_grpc

from tests.authority import Identity
from tests.workloads import TrustDomain


class WorkloadAPI(workload_pb2_grpc.SpiffeWorkloadAPIServicer):
    """Whoever asks gets the SVIDs of now, and those of later when they come; or an error."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "api.sock"
        self.response: Any = None
        self.error: grpc.StatusCode | None = None
        self.streams = 0
        self._listeners: list[queue.Queue[Any]] = []

    def give(self, domain: TrustDomain, *identities: Identity, key_of: Identity | None = None) -> None:
        """`key_of` is whose key comes with the SVIDs, if it is not their own."""
        svids = [
            workload_pb2.X509SVID(
                spiffe_id=identity.certificate.extensions.get_extension_for_class(_san()).value[0].value,
                x509_svid=b"".join(identity.der_chain),
                x509_svid_key=(key_of or identity).private_key.private_bytes(
                    Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
                ),
                bundle=domain.authority.der,
            )
            for identity in identities
        ]
        self.send(workload_pb2.X509SVIDResponse(svids=svids))

    def send(self, response: Any) -> None:
        self.response = response
        for listener in self._listeners:
            listener.put(response)

    def FetchX509SVID(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802 # the name of the method
        self.streams += 1
        assert ("workload.spiffe.io", "true") in context.invocation_metadata()
        if self.error is not None:
            context.abort(self.error, "No identity.")
        listener: queue.Queue[Any] = queue.Queue()
        self._listeners.append(listener)
        context.add_callback(lambda: listener.put(None))
        if self.response is not None:
            yield self.response
        while (response := listener.get()) is not None:
            yield response
        self._listeners.remove(listener)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        server = grpc.server(ThreadPoolExecutor(8))
        workload_pb2_grpc.add_SpiffeWorkloadAPIServicer_to_server(self, server)  # type: ignore[no-untyped-call] # grpc generates no types
        server.add_insecure_port(f"unix:{self.socket}")
        server.start()
        try:
            yield
        finally:
            server.stop(None).wait()


@contextlib.contextmanager
def workload_api() -> Iterator[WorkloadAPI]:
    """One that runs, on a socket whose path is short enough."""
    with tempfile.TemporaryDirectory() as folder:
        api = WorkloadAPI(Path(folder))
        with api.running():
            yield api


def _san() -> Any:
    from cryptography.x509 import SubjectAlternativeName

    return SubjectAlternativeName
