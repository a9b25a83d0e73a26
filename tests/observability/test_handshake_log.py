"""Failed handshakes in the diagnostics."""

import logging

import pytest

from mtls_as.observability.handshake_log import IN_FULL, WINDOW_SECONDS, HandshakeLog


def test_a_flood_costs_a_line_for_each_reason(caplog: pytest.LogCaptureFixture) -> None:
    """The first are logged one by one, of the others their number; a quiet time begins anew."""
    now = 100.0
    log = HandshakeLog(monotonic=lambda: now)
    with caplog.at_level(logging.INFO, "mtls_as"):
        for number in range(10_000):
            log.failed("timeout" if number % 2 else "not_tls", "192.0.2.1:1")
        assert len(caplog.messages) == IN_FULL
        now += WINDOW_SECONDS
        log.failed("timeout", "192.0.2.1:1")
        assert sorted(caplog.messages[IN_FULL:]) == [
            "4990 more handshakes failed: not_tls",
            "4990 more handshakes failed: timeout",
            "handshake with 192.0.2.1:1 failed: timeout",
        ]
