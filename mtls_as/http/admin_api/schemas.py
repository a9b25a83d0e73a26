"""The schemas of the administration's requests and answers. What is sent has no members but these."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mtls_as.http.operation import Schema
from mtls_as.http.schema_parts import CLIENT_METADATA, TEXT, TEXTS, URL, object_of
from mtls_as.rfc.rfc6749_framework import ErrorCode
from mtls_as.server.clients import CLIENT_MEMBERS

_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_OPTIONAL_TIME: Final[Schema] = {"type": ["string", "null"], "format": "date-time"}
_OPTIONAL_TEXT: Final[Schema] = {"type": ["string", "null"]}
_THUMBPRINT: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"}
_FLAG: Final[Schema] = {"type": "boolean"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
# RFC 7591 and RFC 8705, with what only the operator decides.
_CLIENT: Final[Mapping[str, Schema]] = {
    **{name: {} for name in CLIENT_MEMBERS},
    **CLIENT_METADATA,
    "client_id": {"type": "string", "pattern": "^[!-~]{1,256}$"},
    "access_token_lifetime": {"type": "integer", "minimum": 10, "maximum": 86_400},
    "resources": {"type": "array", "items": URL},
    "claims": {"type": "object"},
    "enabled": _FLAG,
}


def _strict(*required: str, **properties: Schema) -> dict[str, object]:
    return {**object_of(*required, **properties), "additionalProperties": False}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_STORED_CLIENT: Final = object_of(
    "client_id",
    "enabled",
    "source",
    **_CLIENT,
    source={"type": "string", "enum": ["configuration", "storage"]},
    client_secret={"type": "string", "description": "Shown once, where it has just been made."},
    client_secrets=_array(object_of("created_at", "expires_at", created_at=_TIME, expires_at=_OPTIONAL_TIME)),
)
_KEY: Final = object_of(
    "kid",
    "algorithm",
    "state",
    kid=TEXT,
    algorithm=TEXT,
    state={"type": "string", "enum": ["next", "active", "retired", "gone"]},
    held_by=TEXT,
    created_at=_TIME,
    activates_at=_TIME,
    rotates_at=_OPTIONAL_TIME,
    expires_at=_OPTIONAL_TIME,
)
_CERTIFICATE: Final = object_of(
    "role",
    "subject",
    "x5t#S256",
    "not_after",
    "days_left",
    **{
        "role": {"type": "string", "enum": ["server", "anchor", "registered", "seen"]},
        "client_id": _OPTIONAL_TEXT,
        "trust": _OPTIONAL_TEXT,
        "subject": TEXT,
        "issuer": TEXT,
        "serial_number": TEXT,
        "x5t#S256": _THUMBPRINT,
        "not_after": _TIME,
        "days_left": {"type": "integer"},
        "last_used": _OPTIONAL_TIME,
        "uses": _COUNT,
        "note": _OPTIONAL_TEXT,
    },
)
_DOMAIN: Final = object_of(
    "name",
    "anchors",
    "revocation",
    name=TEXT,
    anchors=_array(
        object_of(
            "subject",
            "x5t#S256",
            "not_after",
            **{"subject": TEXT, "serial_number": TEXT, "x5t#S256": _THUMBPRINT, "not_after": _TIME},
        )
    ),
    extended_key_usage=TEXT,
    minimum_key_strength=_COUNT,
    revocation=object_of(
        "sources",
        "fails",
        "lists",
        "problems",
        sources=TEXTS,
        responder=_OPTIONAL_TEXT,
        fails={"type": "string", "enum": ["closed", "open"]},
        grace={"type": "number", "minimum": 0},
        lists=_array(
            object_of(
                "source",
                "next_update",
                source=TEXT,
                issuer=TEXT,
                number={"type": ["integer", "null"]},
                is_delta=_FLAG,
                entries=_COUNT,
                this_update=_TIME,
                next_update=_TIME,
                is_proven=_FLAG,
            )
        ),
        problems=_array(object_of("source", "problem", source=TEXT, problem=TEXT)),
    ),
)

ADMIN_SCHEMAS: Final[Mapping[str, Schema]] = MappingProxyType(
    {
        "AdminError": object_of(
            "error",
            "error_description",
            error={"type": "string", "enum": sorted(ErrorCode)},
            error_description={"type": "string", "description": "What is wrong, in words; a line for each problem."},
        ),
        "ReloadReport": object_of(
            "outcome",
            "generation",
            "problems",
            "processes",
            outcome={"type": "string", "enum": ["succeeded", "failed", "incomplete"]},
            generation={"type": "integer", "description": "In force in the process that answers."},
            problems=TEXTS,
            processes={
                "type": "array",
                "description": "The processes that have been asked, the one that answers first.",
                "items": object_of(
                    "process",
                    "outcome",
                    "generation",
                    process={"type": "integer"},
                    outcome={"type": "string", "enum": ["succeeded", "failed", "incomplete"]},
                    generation={"type": ["integer", "null"]},
                ),
            },
        ),
        "AdminClient": _strict("client_id", "token_endpoint_auth_method", **_CLIENT),
        "AdminClientUpdate": _strict("token_endpoint_auth_method", **_CLIENT),
        "StoredClient": _STORED_CLIENT,
        "StoredClients": object_of("clients", clients=_array(_STORED_CLIENT), next_cursor=TEXT),
        "SecretRequest": _strict(
            overlap={
                "type": "integer",
                "minimum": 0,
                "maximum": 31_622_400,
                "description": "Seconds that the secret before stays valid; a day, if nothing is said.",
            }
        ),
        "RegistrationTokenRequest": _strict(
            "scope",
            scope={"type": "string", "description": "What its clients may ask for at most."},
            trust=TEXTS,
            methods=TEXTS,
            grant_types=TEXTS,
            jwks_uri_prefixes=TEXTS,
            expires_in={"type": "integer", "minimum": 1, "description": "Seconds; a day, if nothing is said."},
            uses={"type": "integer", "minimum": 1, "maximum": 1_000_000},
        ),
        "RegistrationToken": object_of(
            "initial_access_token",
            "name",
            "expires_at",
            "uses",
            initial_access_token={"type": "string", "description": "Shown once."},
            name=TEXT,
            expires_at=_TIME,
            uses=_COUNT,
        ),
        "RegistrationTokens": object_of(
            "tokens",
            tokens=_array(
                object_of(
                    "name",
                    "uses_left",
                    "expires_at",
                    name=TEXT,
                    uses_left=_COUNT,
                    expires_at=_TIME,
                    trust=TEXT,
                    scope=TEXT,
                    methods=TEXT,
                )
            ),
        ),
        "KeyRequest": _strict(
            algorithm=TEXT,
            now={"type": "boolean", "description": "Sign with the new key at once."},
            leaked={"type": "boolean", "description": "That too, and withdraw the one before with its tokens."},
        ),
        "SigningKeyInformation": _KEY,
        "SigningKeys": object_of("keys", keys=_array(_KEY)),
        "Trust": object_of(
            "generation",
            "domains",
            "warnings",
            generation={"type": "integer"},
            domains=_array(_DOMAIN),
            warnings=TEXTS,
        ),
        "Inventory": object_of(
            "certificates",
            "left_out",
            certificates=_array(_CERTIFICATE),
            left_out={"type": "integer", "minimum": 0, "description": "How many more there are."},
        ),
        "RevocationRequest": _strict(
            token={"type": "string", "description": "The token itself, of either form."},
            token_id={"type": "string", "description": "Its jti."},
            client_id=TEXT,
            certificate={"type": "string", "description": "An x5t#S256."},
            before={"type": "number", "minimum": 0, "description": "Epoch seconds; now, if nothing is said."},
        ),
        "RevocationReport": object_of(
            "kind",
            "value",
            "issued_before",
            kind={"type": "string", "enum": ["token", "client", "certificate", "everything"]},
            value=TEXT,
            issued_before=_TIME,
        ),
        "AuditRecords": object_of(
            "records",
            records=_array(object_of("sequence", "time", "kind", sequence=_COUNT, time=_TIME, kind=TEXT)),
            next_cursor=TEXT,
        ),
        "AuditVerification": object_of(
            "first",
            "last",
            "records",
            "damage",
            first=_COUNT,
            last=_COUNT,
            records=_COUNT,
            damage={"type": ["object", "null"]},
        ),
        "AuditHead": object_of("checkpoint", checkpoint=TEXT),
    }
)
