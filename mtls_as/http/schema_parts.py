"""What the schemas of requests and answers are made of."""

from collections.abc import Mapping
from typing import Final

from mtls_as.http.operation import Schema
from mtls_as.rfc.rfc7591_client_metadata import AUTHENTICATION_METHODS
from mtls_as.rfc.rfc8705_mtls import SubjectType

TEXT: Final[Schema] = {"type": "string"}
TEXTS: Final[Schema] = {"type": "array", "items": TEXT}
URL: Final[Schema] = {"type": "string", "format": "uri"}
SECONDS: Final[Schema] = {"type": "integer", "minimum": 0}
AUDIENCE: Final[Schema] = {"oneOf": [TEXT, TEXTS]}
KEYS: Final[Schema] = {"$ref": "#/components/schemas/JWKSet"}


def object_of(*required: str, **properties: Schema) -> dict[str, object]:
    """The schema of an object with these members, some of them required."""
    schema: dict[str, object] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    return schema


CLIENT_METADATA: Final[Mapping[str, Schema]] = {
    "token_endpoint_auth_method": {"type": "string", "enum": list(AUTHENTICATION_METHODS)},
    **{subject.value: TEXT for subject in SubjectType},
    "jwks": KEYS,
    "jwks_uri": URL,
    "grant_types": TEXTS,
    "scope": TEXT,
    "tls_client_certificate_bound_access_tokens": {"type": "boolean"},
    "dpop_bound_access_tokens": {"type": "boolean"},
    "client_name": TEXT,
    "trust": {"type": "string", "description": "The trust domain of the client's certificates."},
}
