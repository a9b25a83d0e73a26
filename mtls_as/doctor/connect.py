"""The way to one server: its name, a connection, TLS, and what the server says to a connection with our certificate."""

import asyncio
import socket
import ssl
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mtls_as.doctor.findings import Place
from mtls_as.doctor.handshake import probe, shake_hands
from mtls_as.doctor.observations import Handshake, Probe, Reach, ServerObservation, Trust

DEFAULT_SECONDS: Final = 5.0
_PORTS: Final = {"https": 443, "http": 80}
_TIMEOUT: Final = "timeout"


async def look_at(
    url: str,
    place: Place,
    *,
    context: ssl.SSLContext,
    identity: tuple[Path, Path] | None,
    target: str,
    seconds: float = DEFAULT_SECONDS,
) -> ServerObservation:
    """Look at the server of a URL, each step within so many seconds; `target` is a path to ask for, without a token.

    `context` is the client's own, by which the chain is judged; it does not look at names.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    begun = time.monotonic()
    addresses, reach, failure = await _reach(host, port, seconds)
    taken = time.monotonic() - begun
    handshake, trust, answer = None, None, None
    if reach is Reach.CONNECTED and parts.scheme == "https":
        address = addresses[0]
        handshake = await _handshake(address, host, port, seconds)
        if handshake.chain:
            trust = await _trust(address, host, port, context, seconds)
        if handshake.version is not None:
            answer = await _probe(address, host, port, target, identity, seconds)
    return ServerObservation(
        place=place,
        url=url,
        host=host,
        port=port,
        addresses=addresses,
        reach=reach,
        failure=failure,
        seconds=taken,
        is_plain=parts.scheme == "http",
        handshake=handshake,
        trust=trust,
        probe=answer,
    )


async def _reach(host: str, port: int, seconds: float) -> tuple[tuple[str, ...], Reach, str]:
    """Its addresses, the one that answered first; and how far the way went, with the reason."""
    try:
        async with asyncio.timeout(seconds):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        return (), Reach.NO_ADDRESS, f"no answer within {seconds:g} s"
    except (OSError, UnicodeError) as error:
        return (), Reach.NO_ADDRESS, getattr(error, "strerror", None) or str(error)
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    outcome = (Reach.UNREACHABLE, "")
    for address in addresses:
        outcome = await _connect(address, port, seconds)
        if outcome[0] is Reach.CONNECTED:
            return (address, *(other for other in addresses if other != address)), *outcome
    return addresses, *outcome


async def _connect(address: str, port: int, seconds: float) -> tuple[Reach, str]:
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        return Reach.TIMEOUT, f"no answer within {seconds:g} s"
    except ConnectionRefusedError:
        return Reach.REFUSED, ""
    except OSError as error:
        return Reach.UNREACHABLE, error.strerror or str(error)
    writer.close()
    return Reach.CONNECTED, ""


async def _handshake(address: str, host: str, port: int, seconds: float) -> Handshake:
    try:
        async with asyncio.timeout(seconds):
            return await shake_hands(address, host, port)
    except TimeoutError:
        return Handshake(failure=_TIMEOUT)
    except OSError as error:
        return Handshake(failure=error.strerror or str(error))


async def _trust(address: str, host: str, port: int, context: ssl.SSLContext, seconds: float) -> Trust | None:
    """The chain alone: names and dates have checks of their own. None where the server would not say."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(address, port, ssl=context, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        return Trust(code=error.verify_code, message=error.verify_message)
    except ssl.SSLError as error:
        # What the server says to our certificate, or to none, it says after its own has been judged.
        return Trust() if "ALERT" in (error.reason or "") else None
    except (TimeoutError, OSError):
        return None
    writer.close()
    return Trust()


async def _probe(
    address: str, host: str, port: int, target: str, identity: tuple[Path, Path] | None, seconds: float
) -> Probe:
    try:
        async with asyncio.timeout(seconds):
            return await probe(address, host, port, target, identity=identity)
    except TimeoutError:
        return Probe(alert=_TIMEOUT)
    except OSError as error:
        return Probe(alert=error.strerror or str(error))
