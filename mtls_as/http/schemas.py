"""The schemas of requests and answers, as components of the OpenAPI documents."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mtls_as.http.operation import Schema
from mtls_as.rfc.rfc6749_framework import ErrorCode
from mtls_as.rfc.rfc7591_client_metadata import AUTHENTICATION_METHODS
from mtls_as.rfc.rfc8705_mtls import SubjectType

_TEXT: Final[Schema] = {"type": "string"}
_TEXTS: Final[Schema] = {"type": "array", "items": _TEXT}
_URL: Final[Schema] = {"type": "string", "format": "uri"}
_SECONDS: Final[Schema] = {"type": "integer", "minimum": 0}
_AUDIENCE: Final[Schema] = {"oneOf": [_TEXT, _TEXTS]}
_KEYS: Final[Schema] = {"$ref": "#/components/schemas/JWKSet"}

# RFC 6749 §2.3.1, RFC 7521 §4.2: how a client says who it is, beside its certificate.
_CREDENTIALS: Final[Mapping[str, Schema]] = {
    "client_id": {"type": "string", "description": "Required unless another credential names the client."},
    "client_secret": {"type": "string", "description": "With client_secret_post."},
    "client_assertion_type": {"type": "string", "description": "With client_assertion."},
    "client_assertion": {"type": "string", "description": "With private_key_jwt or spiffe_jwt."},
}


def _object(*required: str, **properties: Schema) -> dict[str, object]:
    schema: dict[str, object] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    return schema


_CLIENT_METADATA: Final[Mapping[str, Schema]] = {
    "token_endpoint_auth_method": {"type": "string", "enum": list(AUTHENTICATION_METHODS)},
    **{subject.value: _TEXT for subject in SubjectType},
    "jwks": _KEYS,
    "jwks_uri": _URL,
    "grant_types": _TEXTS,
    "scope": _TEXT,
    "tls_client_certificate_bound_access_tokens": {"type": "boolean"},
    "dpop_bound_access_tokens": {"type": "boolean"},
    "client_name": _TEXT,
    "trust": {"type": "string", "description": "The trust domain of the client's certificates."},
}

SCHEMAS: Final[Mapping[str, Schema]] = MappingProxyType(
    {
        "Error": {
            **_object(
                "error",
                "error_description",
                error={"type": "string", "enum": sorted(ErrorCode)},
                error_description=_TEXT,
            ),
            "additionalProperties": False,
        },
        "AdminError": _object(
            "error",
            "error_description",
            error={"type": "string", "enum": sorted(ErrorCode)},
            error_description={"type": "string", "description": "What is wrong, in words; a line for each problem."},
        ),
        "TokenRequest": _object(
            "grant_type",
            grant_type={"type": "string", "examples": ["client_credentials"]},
            **_CREDENTIALS,
            scope={
                "type": "string",
                "description": "Scopes, separated by single spaces.",
                "examples": ["reports:read"],
            },
            resource={"type": "array", "items": _URL, "maxItems": 1, "description": "RFC 8707 §2."},
            authorization_details={"type": "string", "description": "A JSON array (RFC 9396 §2)."},
            assertion={"type": "string", "description": "With JWT bearer (RFC 7523 §2.1)."},
            subject_token={"type": "string", "description": "With token exchange, as are those below (RFC 8693 §2.1)."},
            subject_token_type=_TEXT,
            actor_token=_TEXT,
            actor_token_type=_TEXT,
            requested_token_type=_TEXT,
            audience={"type": "array", "items": _TEXT},
        ),
        "TokenResponse": _object(
            "access_token",
            "token_type",
            "expires_in",
            access_token=_TEXT,
            token_type={"type": "string", "enum": ["Bearer", "DPoP", "N_A"]},
            expires_in=_SECONDS,
            scope=_TEXT,
            issued_token_type=_TEXT,
            authorization_details={"type": "array", "items": {"type": "object"}},
        ),
        "TokenReference": _object("token", token=_TEXT, token_type_hint=_TEXT, **_CREDENTIALS),
        "RevocationRequest": _object(
            token_id=_TEXT, client_id=_TEXT, certificate=_TEXT, before={"type": "integer", "minimum": 0}
        ),
        "ReloadReport": _object(
            "outcome",
            "generation",
            "problems",
            "processes",
            outcome={"type": "string", "enum": ["succeeded", "failed", "incomplete"]},
            generation={"type": "integer", "description": "In force in the process that answers."},
            problems=_TEXTS,
            processes={
                "type": "array",
                "description": "The processes that have been asked, the one that answers first.",
                "items": _object(
                    "process",
                    "outcome",
                    "generation",
                    process={"type": "integer"},
                    outcome={"type": "string", "enum": ["succeeded", "failed", "incomplete"]},
                    generation={"type": ["integer", "null"]},
                ),
            },
        ),
        "IntrospectionResponse": _object(
            "active",
            active={"type": "boolean"},
            iss=_URL,
            sub=_TEXT,
            client_id=_TEXT,
            aud=_AUDIENCE,
            scope=_TEXT,
            exp=_SECONDS,
            iat=_SECONDS,
            jti=_TEXT,
            token_type=_TEXT,
            cnf={"type": "object", "description": "What the token is bound to (RFC 8705 §3.2, RFC 9449 §6.2)."},
        ),
        "ServerMetadata": _object(
            "issuer",
            "token_endpoint",
            "jwks_uri",
            "response_types_supported",
            issuer=_URL,
            token_endpoint=_URL,
            jwks_uri=_URL,
            response_types_supported=_TEXTS,
            grant_types_supported=_TEXTS,
            scopes_supported=_TEXTS,
            token_endpoint_auth_methods_supported=_TEXTS,
            tls_client_certificate_bound_access_tokens={"type": "boolean"},
            dpop_signing_alg_values_supported=_TEXTS,
            status_list_aggregation_endpoint=_URL,
            mtls_endpoint_aliases={"type": "object", "additionalProperties": _URL},
            signed_metadata=_TEXT,
        ),
        "JWKSet": _object("keys", keys={"type": "array", "items": _object("kty", kty=_TEXT)}),
        "StatusListAggregation": _object("status_lists", status_lists={"type": "array", "items": _URL}),
        "OpenAPI": _object(
            "openapi", "info", "paths", openapi=_TEXT, info={"type": "object"}, paths={"type": "object"}
        ),
        "ClientMetadata": _object(**_CLIENT_METADATA, software_statement=_TEXT),
        "ClientUpdate": _object(
            "client_id", client_id=_TEXT, client_secret=_TEXT, **_CLIENT_METADATA, software_statement=_TEXT
        ),
        "ClientInformation": _object(
            "client_id",
            "client_id_issued_at",
            "registration_client_uri",
            "registration_access_token",
            client_id=_TEXT,
            client_id_issued_at=_SECONDS,
            client_secret=_TEXT,
            client_secret_expires_at=_SECONDS,
            registration_client_uri=_URL,
            registration_access_token=_TEXT,
            **_CLIENT_METADATA,
            software_statement=_TEXT,
        ),
        "Liveness": _object("live", live={"const": True}),
        "Readiness": _object(
            "ready",
            "checks",
            ready={"type": "boolean"},
            checks={
                "type": "object",
                "additionalProperties": _object("passed", "detail", passed={"type": "boolean"}, detail={}),
            },
        ),
    }
)


def reference(name: str) -> Schema:
    """A reference to one of `SCHEMAS`."""
    if name not in SCHEMAS:
        raise KeyError(name)
    return {"$ref": f"#/components/schemas/{name}"}
