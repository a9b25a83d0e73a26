"""Every operation of the administration: by what it is called over HTTP, and which scope opens it.

Whoever holds the scope of an area may do all there; with `:read` at its end it shows, and changes nothing.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class AdminScope(StrEnum):
    """The scopes of the administration. None of them implies another, and none is a pattern."""

    CLIENTS = "mtls-as:admin:clients"
    READ_CLIENTS = "mtls-as:admin:clients:read"
    KEYS = "mtls-as:admin:keys"
    READ_KEYS = "mtls-as:admin:keys:read"
    TRUST = "mtls-as:admin:trust"
    REVOCATIONS = "mtls-as:admin:revocations"
    INVENTORY = "mtls-as:admin:inventory"
    AUDIT = "mtls-as:admin:audit"
    RELOAD = "mtls-as:admin:reload"


@dataclass(frozen=True, slots=True)
class AdminRoute:
    """One operation. A part of the path in braces stands for any text, escaped where it has a slash."""

    name: str
    method: str
    path: str
    needs: tuple[AdminScope, ...]
    """The scopes of which one is needed, the one that allows least first."""


REVOKE_TOKENS: Final = AdminRoute("revokeTokens", "POST", "/revocations", (AdminScope.REVOCATIONS,))
RELOAD: Final = AdminRoute("reload", "POST", "/reload", (AdminScope.RELOAD,))
