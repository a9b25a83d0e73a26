"""Reload by operators: what the configuration and its files say now is taken over by every process, or by none."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.server.endpoints.admin.call import (
    AdminCall,
    AdministrationError,
    AdminOutcome,
    AdminResult,
    Handlers,
)
from mtls_as.server.endpoints.admin.routes import RELOAD
from mtls_as.server.events import ReloadOutcome, RequestEvent
from mtls_as.server.reloading import ProcessReload

_OUTCOMES: Final = {
    ReloadOutcome.SUCCEEDED: AdminOutcome.DONE,
    ReloadOutcome.FAILED: AdminOutcome.IMPOSSIBLE,
    ReloadOutcome.INCOMPLETE: AdminOutcome.INCOMPLETE,
}

ReloadAll = Callable[[str], Awaitable[tuple[ProcessReload, ...]]]
"""Reloads in every process of this server, for a cause in words: what became of it, in the one that was asked first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadAdministration:
    """Has the server read its files. `reload_all` gives None in a process that does not serve."""

    reload_all: Callable[[], ReloadAll | None]

    def handlers(self) -> Handlers:
        return {RELOAD: self.reload}

    async def reload(self, call: AdminCall, event: RequestEvent) -> AdminResult:
        """Reload, and tell what became of it in each process.

        The process that is asked goes first. If it cannot take the files over, nobody is asked to. Raises `OAuthError`.
        """
        if call.body:
            raise AdministrationError(Refusal.MALFORMED_REQUEST, "a reload takes no body")
        reload_all = self.reload_all()
        if reload_all is None:
            detail = "this process does not serve"
            raise OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, detail)
        reloads = await reload_all(f"admin call by {call.caller.name}")
        first, outcome = reloads[0], _worst(reloads)
        event.target, event.detail = f"generation {first.generation}", outcome.value
        document = {
            "outcome": outcome.value,
            "generation": first.generation,
            "problems": sorted({problem for each in reloads for problem in each.problems}),
            "processes": [
                {"process": each.process, "outcome": each.outcome.value, "generation": each.generation}
                for each in reloads
            ],
        }
        return AdminResult(document=document, outcome=_OUTCOMES[outcome])


def _worst(reloads: tuple[ProcessReload, ...]) -> ReloadOutcome:
    outcomes = {each.outcome for each in reloads}
    if ReloadOutcome.FAILED in outcomes:
        return ReloadOutcome.FAILED
    return ReloadOutcome.INCOMPLETE if ReloadOutcome.INCOMPLETE in outcomes else ReloadOutcome.SUCCEEDED
