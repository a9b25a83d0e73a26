"""Certificates from the SPIFFE Workload API: X.509-SVIDs, which are renewed long before they end."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import spiffe
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe.errors import PySpiffeError
from spiffe.workloadapi.workload_api_client import StreamCancelHandler
from spiffe.workloadapi.x509_context import X509Context

from mtls_as.client.credentials import Credentials, pair, read_ca
from mtls_as.client.errors import ClientConfigurationError

_log = logging.getLogger("mtls_as.client")

FIRST_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 5.0


class WorkloadCertificate:
    """As `CertificateSource`: the SVID that the Workload API at a socket gives to this process, and its successors.

    `socket` is a path or `unix:` URL; without one it is that of `SPIFFE_ENDPOINT_SOCKET`. Of several SVIDs it is the
    first, or the one with `spiffe_id`. `ca` is a PEM file with the only CAs to trust for servers; with
    `trust_bundle=True` they are the authorities of the SVID's own trust domain; host names are checked in either case.

    Where the API goes away, or gives nothing of use, the SVID at hand stays, the log tells of it (`mtls_as.client`),
    and so does `problem`. Raises `ClientConfigurationError` here if nothing comes within `seconds`.
    """

    def __init__(
        self,
        socket: str | Path | None = None,
        *,
        spiffe_id: str | None = None,
        ca: str | Path | None = None,
        trust_bundle: bool = False,
        seconds: float = FIRST_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if ca is not None and trust_bundle:
            raise ClientConfigurationError("ca, trust_bundle: the CAs to trust are those of one of the two")
        self._spiffe_id = spiffe_id
        self._ca_pem = read_ca(Path(ca)) if ca is not None else None
        self._trust_bundle = trust_bundle
        self._monotonic = monotonic
        self._current: Credentials | None = None
        self._lock = threading.Lock()
        self._ended_at: float | None = None
        self._first = threading.Event()
        self.problem: str | None = None
        """Why what the API says now is not used, if it is not."""
        try:
            self._api = spiffe.WorkloadApiClient(_address(socket))
        except PySpiffeError as error:
            raise ClientConfigurationError(f"the Workload API: {error}") from None
        self._stream = self._start()
        self._wait(seconds)

    def current(self) -> Credentials:
        """As `CertificateSource`."""
        if self._ended_at is not None:
            self._start_again()
        assert self._current is not None  # noqa: S101 # the constructor waited for it
        return self._current

    def close(self) -> None:
        """Listen no longer; the SVID at hand stays."""
        self._stream.cancel()
        self._api.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, seconds: float) -> None:
        if not self._first.wait(seconds) or self._current is None:
            self.close()
            raise ClientConfigurationError(self.problem or f"the Workload API gave no SVID within {seconds:g} s")

    def _start(self) -> StreamCancelHandler:
        return self._api.stream_x509_contexts(self._take, self._end)

    def _start_again(self) -> None:
        """The library ends a stream for good at what it cannot read; agents are mended."""
        with self._lock:
            if self._ended_at is None or self._monotonic() - self._ended_at < RETRY_SECONDS:
                return
            self._ended_at = None
            self._stream = self._start()

    def _take(self, context: X509Context) -> None:
        try:
            self._current = self._read(context)
        except ClientConfigurationError as error:
            self._tell(str(error))
        else:
            self.problem = None
            _log.info("the certificate is now %s", self._current.x5t_s256)
        self._first.set()

    def _end(self, error: Exception) -> None:
        self._tell(f"the Workload API: {error}")
        self._ended_at = self._monotonic()
        self._first.set()

    def _tell(self, problem: str) -> None:
        self.problem = problem
        _log.warning("the certificate stays the old one: %s", problem)

    def _read(self, context: X509Context) -> Credentials:
        found = [svid for svid in context.x509_svids if self._spiffe_id in {None, str(svid.spiffe_id)}]
        if not found:
            raise ClientConfigurationError(f"the Workload API gave no SVID of {self._spiffe_id}")
        svid, ca_pem = found[0], self._ca_pem
        if self._trust_bundle:
            bundle = context.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
            authorities = bundle.x509_authorities if bundle is not None else set()
            ca_pem = b"".join(authority.public_bytes(Encoding.PEM) for authority in authorities)
        return pair(
            b"".join(certificate.public_bytes(Encoding.PEM) for certificate in svid.cert_chain),
            svid.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            ca_pem=ca_pem,
            names=(f"the SVID of {svid.spiffe_id}", "its key"),
        )


def _address(socket: str | Path | None) -> str | None:
    if socket is None:
        return None
    return str(socket) if ":" in str(socket) else f"unix:{socket}"
