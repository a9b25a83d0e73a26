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


_CLIENTS: Final = (AdminScope.CLIENTS,)
_SEE_CLIENTS: Final = (AdminScope.READ_CLIENTS, AdminScope.CLIENTS)
_KEYS: Final = (AdminScope.KEYS,)
_SEE_KEYS: Final = (AdminScope.READ_KEYS, AdminScope.KEYS)

LIST_CLIENTS: Final = AdminRoute("listClients", "GET", "/clients", _SEE_CLIENTS)
ADD_CLIENT: Final = AdminRoute("addClient", "POST", "/clients", _CLIENTS)
SHOW_CLIENT: Final = AdminRoute("showClient", "GET", "/clients/{client_id}", _SEE_CLIENTS)
REPLACE_CLIENT: Final = AdminRoute("replaceClient", "PUT", "/clients/{client_id}", _CLIENTS)
DELETE_CLIENT: Final = AdminRoute("deleteStoredClient", "DELETE", "/clients/{client_id}", _CLIENTS)
ENABLE_CLIENT: Final = AdminRoute("enableClient", "POST", "/clients/{client_id}/enable", _CLIENTS)
DISABLE_CLIENT: Final = AdminRoute("disableClient", "POST", "/clients/{client_id}/disable", _CLIENTS)
ROTATE_SECRET: Final = AdminRoute("rotateClientSecret", "POST", "/clients/{client_id}/secret", _CLIENTS)
LIST_REGISTRATION_TOKENS: Final = AdminRoute("listRegistrationTokens", "GET", "/registration-tokens", _SEE_CLIENTS)
ADD_REGISTRATION_TOKEN: Final = AdminRoute("addRegistrationToken", "POST", "/registration-tokens", _CLIENTS)
DELETE_REGISTRATION_TOKEN: Final = AdminRoute(
    "deleteRegistrationToken", "DELETE", "/registration-tokens/{name}", _CLIENTS
)
LIST_KEYS: Final = AdminRoute("listKeys", "GET", "/keys", _SEE_KEYS)
ROTATE_KEY: Final = AdminRoute("rotateKey", "POST", "/keys", _KEYS)
SHOW_TRUST: Final = AdminRoute("showTrust", "GET", "/trust", (AdminScope.TRUST,))
TAKE_INVENTORY: Final = AdminRoute("takeInventory", "GET", "/inventory", (AdminScope.INVENTORY,))
LIST_AUDIT: Final = AdminRoute("listAuditRecords", "GET", "/audit", (AdminScope.AUDIT,))
VERIFY_AUDIT: Final = AdminRoute("verifyAuditTrail", "GET", "/audit/verification", (AdminScope.AUDIT,))
HEAD_OF_AUDIT: Final = AdminRoute("showAuditHead", "GET", "/audit/head", (AdminScope.AUDIT,))
REVOKE_TOKENS: Final = AdminRoute("revokeTokens", "POST", "/revocations", (AdminScope.REVOCATIONS,))
RELOAD: Final = AdminRoute("reload", "POST", "/reload", (AdminScope.RELOAD,))
