"""The schemas of requests and answers, as components of the OpenAPI documents."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mtls_as.http.admin_api.schemas import ADMIN_SCHEMAS
from mtls_as.http.operation import Schema
from mtls_as.http.schema_parts import AUDIENCE, CLIENT_METADATA, SECONDS, TEXT, TEXTS, URL, object_of
from mtls_as.rfc.rfc6749_framework import ErrorCode

# RFC 6749 §2.3.1, RFC 7521 §4.2: how a client says who it is, beside its certificate.
_CREDENTIALS: Final[Mapping[str, Schema]] = {
    "client_id": {"type": "string", "description": "Required unless another credential names the client."},
    "client_secret": {"type": "string", "description": "With client_secret_post."},
    "client_assertion_type": {"type": "string", "description": "With client_assertion."},
    "client_assertion": {"type": "string", "description": "With private_key_jwt or spiffe_jwt."},
}


SCHEMAS: Final[Mapping[str, Schema]] = MappingProxyType(
    {
        **ADMIN_SCHEMAS,
        "Error": {
            **object_of(
                "error",
                "error_description",
                error={"type": "string", "enum": sorted(ErrorCode)},
                error_description=TEXT,
            ),
            "additionalProperties": False,
        },
        "TokenRequest": object_of(
            "grant_type",
            grant_type={"type": "string", "examples": ["client_credentials"]},
            **_CREDENTIALS,
            scope={
                "type": "string",
                "description": "Scopes, separated by single spaces.",
                "examples": ["reports:read"],
            },
            resource={"type": "array", "items": URL, "maxItems": 1, "description": "RFC 8707 §2."},
            authorization_details={"type": "string", "description": "A JSON array (RFC 9396 §2)."},
            assertion={"type": "string", "description": "With JWT bearer (RFC 7523 §2.1)."},
            subject_token={"type": "string", "description": "With token exchange, as are those below (RFC 8693 §2.1)."},
            subject_token_type=TEXT,
            actor_token=TEXT,
            actor_token_type=TEXT,
            requested_token_type=TEXT,
            audience={"type": "array", "items": TEXT},
        ),
        "TokenResponse": object_of(
            "access_token",
            "token_type",
            "expires_in",
            access_token=TEXT,
            token_type={"type": "string", "enum": ["Bearer", "DPoP", "N_A"]},
            expires_in=SECONDS,
            scope=TEXT,
            issued_token_type=TEXT,
            authorization_details={"type": "array", "items": {"type": "object"}},
        ),
        "TokenReference": object_of("token", token=TEXT, token_type_hint=TEXT, **_CREDENTIALS),
        "IntrospectionResponse": object_of(
            "active",
            active={"type": "boolean"},
            iss=URL,
            sub=TEXT,
            client_id=TEXT,
            aud=AUDIENCE,
            scope=TEXT,
            exp=SECONDS,
            iat=SECONDS,
            jti=TEXT,
            token_type=TEXT,
            cnf={"type": "object", "description": "What the token is bound to (RFC 8705 §3.2, RFC 9449 §6.2)."},
        ),
        "ServerMetadata": object_of(
            "issuer",
            "token_endpoint",
            "jwks_uri",
            "response_types_supported",
            issuer=URL,
            token_endpoint=URL,
            jwks_uri=URL,
            response_types_supported=TEXTS,
            grant_types_supported=TEXTS,
            scopes_supported=TEXTS,
            token_endpoint_auth_methods_supported=TEXTS,
            tls_client_certificate_bound_access_tokens={"type": "boolean"},
            dpop_signing_alg_values_supported=TEXTS,
            status_list_aggregation_endpoint=URL,
            mtls_endpoint_aliases={"type": "object", "additionalProperties": URL},
            signed_metadata=TEXT,
        ),
        "JWKSet": object_of("keys", keys={"type": "array", "items": object_of("kty", kty=TEXT)}),
        "StatusListAggregation": object_of("status_lists", status_lists={"type": "array", "items": URL}),
        "OpenAPI": object_of(
            "openapi", "info", "paths", openapi=TEXT, info={"type": "object"}, paths={"type": "object"}
        ),
        "ClientMetadata": object_of(**CLIENT_METADATA, software_statement=TEXT),
        "ClientUpdate": object_of(
            "client_id", client_id=TEXT, client_secret=TEXT, **CLIENT_METADATA, software_statement=TEXT
        ),
        "ClientInformation": object_of(
            "client_id",
            "client_id_issued_at",
            "registration_client_uri",
            "registration_access_token",
            client_id=TEXT,
            client_id_issued_at=SECONDS,
            client_secret=TEXT,
            client_secret_expires_at=SECONDS,
            registration_client_uri=URL,
            registration_access_token=TEXT,
            **CLIENT_METADATA,
            software_statement=TEXT,
        ),
        "Liveness": object_of("live", live={"const": True}),
        "Readiness": object_of(
            "ready",
            "checks",
            ready={"type": "boolean"},
            checks={
                "type": "object",
                "additionalProperties": object_of("passed", "detail", passed={"type": "boolean"}, detail={}),
            },
        ),
    }
)


def reference(name: str) -> Schema:
    """A reference to one of `SCHEMAS`."""
    if name not in SCHEMAS:
        raise KeyError(name)
    return {"$ref": f"#/components/schemas/{name}"}
