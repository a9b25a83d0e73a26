"""Whom the doctor may talk to: the hosts that the user named, and others only where the user agrees."""

from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

Ask = Callable[[str, str], bool]
"""Asked with a host and with who names it; whether it may be talked to."""


class Consent:
    """Remembers what was asked: each host once."""

    def __init__(self, named: Iterable[str], ask: Ask) -> None:
        self._known = {_host(url): True for url in named}
        self._ask = ask

    def allows(self, url: str, *, named_by: str) -> bool:
        """Whether a URL that a server named may be asked: its host is one that the user named, or agreed to."""
        host = _host(url)
        if host not in self._known:
            self._known[host] = self._ask(host, named_by)
        return self._known[host]

    def allows_issuer(self, issuer: str, *, named_by: str) -> bool:
        """Whether an authorization server that a resource names may be asked, wherever it stands."""
        if not self._ask(issuer, named_by):
            return False
        self._known[_host(issuer)] = True
        return True


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").lower()
