"""Clocks: the server's `Date` (RFC 9110 §6.6.1) against our own, and what tokens bear."""

from typing import Final

from mtls_as.doctor.checks.words import seconds
from mtls_as.doctor.findings import Actor, Check, Finding, Step
from mtls_as.doctor.observations import ServerObservation

TOLERATED: Final = 10.0
"""Seconds that issuers of assertions and verifiers of tokens forgive (`leeway`), here and in most other software."""
_NOTED: Final = 5.0
_GRAIN: Final = 0.5  # a Date is cut to whole seconds: half a second later on average

_COMPARE: Final = "timedatectl status"


def clock_finding(server: ServerObservation) -> Finding:
    """How far the clocks are apart."""
    check, probe = Check("clock", server.place), server.probe
    if probe is None or probe.server_date is None or probe.local_date is None:
        return check.skipped("the server tells no time")
    ahead = (probe.server_date - probe.local_date).total_seconds() + _GRAIN
    away = abs(ahead)
    if away <= _NOTED:
        return check.ok("the server's clock agrees with ours, to within 5 s")
    seen = f"the server's clock is {seconds(away)} {'ahead of' if ahead > 0 else 'behind'} ours"
    details = (f"server {probe.server_date:%Y-%m-%d %H:%M:%S} UTC, here {probe.local_date:%Y-%m-%d %H:%M:%S} UTC",)
    steps = (
        Step(who=Actor.YOU, what="See whether this machine's clock is kept (NTP):", lines=(_COMPARE,)),
        Step(who=server.place.operator, what="See the same on the server.", lines=(_COMPARE,)),
    )
    if away <= TOLERATED:
        return check.warning(f"{seen}; more than 10 s will be refused", *steps, details=details)
    return check.failure(f"{seen}: {_AHEAD if ahead > 0 else _BEHIND}", *steps, details=details)


_AHEAD: Final = (
    "its tokens begin in the future for whoever has our clock (10 s are forgiven), and your assertions and DPoP proofs "
    "are old when they arrive"
)
_BEHIND: Final = (
    "your assertions and DPoP proofs begin in the future for it (10 s are forgiven), a fresh certificate is not valid "
    "yet there, and its tokens are old when they arrive"
)
