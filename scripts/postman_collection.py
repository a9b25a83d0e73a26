"""Writes `docs/postman_collection.json` from the OpenAPI description; with `--stdout` prints it instead."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mtls_as.http.admin_api.operations import ADMIN_OPERATIONS
from mtls_as.http.openapi import describe
from mtls_as.http.operations import MTLS_OPERATIONS

COLLECTION: Final = Path(__file__).parent.parent / "docs" / "postman_collection.json"
_URL: Final = "https://localhost:8443"
_ADMIN_URL: Final = "https://localhost:9443"
_SCHEMA: Final = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_ABOUT: Final = (
    "Made by scripts/postman from the OpenAPI description. A collection cannot hold a client certificate: add yours in "
    "Postman's settings, under Certificates, for the hosts of baseUrl and adminUrl; and the server's CA beside it."
)
# What a first request needs; every other parameter is there, and switched off.
_EXAMPLES: Final[Mapping[str, object]] = {
    "grant_type": "client_credentials",
    "client_id": "{{clientId}}",
    "token": "{{token}}",
    "scope": "{{scope}}",
    "token_endpoint_auth_method": "tls_client_auth",
    "tls_client_auth_san_dns": "client.example",
    "client_name": "Client",
}
_BEARERS: Final = {
    "initialAccessToken": "{{initialAccessToken}}",
    "registrationAccessToken": "{{registrationAccessToken}}",
    "boundAccessToken": "{{adminToken}}",
}
_VARIABLES: Final = {
    "baseUrl": _URL,
    "adminUrl": _ADMIN_URL,
    "clientId": "reports",
    "scope": "reports:read",
    "token": "",
    "initialAccessToken": "",
    "registrationAccessToken": "",
    "adminToken": "",
}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="scripts/postman", description=__doc__)
    parser.add_argument("--stdout", action="store_true", help="print the collection, and write nothing")
    text = json.dumps(collection(), indent=2, ensure_ascii=False) + "\n"
    if parser.parse_args().stdout:
        sys.stdout.write(text)
    else:
        COLLECTION.write_text(text, encoding="utf-8")


def collection() -> dict[str, Any]:
    """The collection of everything that can be switched on: a folder for each tag, a request for each operation."""
    folders: dict[str, list[dict[str, Any]]] = {}
    for base, operations in (("{{baseUrl}}", MTLS_OPERATIONS), ("{{adminUrl}}", ADMIN_OPERATIONS.values())):
        document: Any = describe([(each.path, each) for each in operations], title="mtls-as", url=_URL)
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                request = _request(base, path, method.upper(), operation, document["components"]["schemas"])
                folders.setdefault(operation["tags"][0], []).append({"name": operation["summary"], "request": request})
    return {
        "info": {"name": "mtls-as", "description": _ABOUT, "schema": _SCHEMA},
        "item": [{"name": tag, "item": items} for tag, items in folders.items()],
        "variable": [{"key": key, "value": value} for key, value in _VARIABLES.items()],
    }


def _request(
    base: str, path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]
) -> dict[str, Any]:
    parts = [part.replace("{", ":").replace("}", "") for part in path.strip("/").split("/")]
    url: dict[str, Any] = {"raw": f"{base}/" + "/".join(parts), "host": [base], "path": parts}
    if names := [part.removeprefix(":") for part in parts if part.startswith(":")]:
        url["variable"] = [{"key": name, "value": str(_EXAMPLES.get(name, ""))} for name in names]
    request: dict[str, Any] = {"method": method, "description": operation["description"], "url": url, "header": []}
    bearer = next((_BEARERS[name] for way in operation["security"] for name in way if name in _BEARERS), None)
    request["auth"] = (
        {"type": "noauth"}
        if bearer is None
        else {"type": "bearer", "bearer": [{"key": "token", "value": bearer, "type": "string"}]}
    )
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = schemas[content["schema"]["$ref"].rpartition("/")[2]]
        request["header"] = [{"key": "Content-Type", "value": media_type}]
        request["body"] = _form(schema) if media_type.endswith("urlencoded") else _json(schema)
    return request


def _form(schema: Mapping[str, Any]) -> dict[str, Any]:
    fields = []
    for name, member in schema["properties"].items():
        field = {"key": name, "value": str(_EXAMPLES.get(name, "")), "type": "text"}
        if "description" in member:
            field["description"] = member["description"]
        if name not in _EXAMPLES:
            field["disabled"] = True
        fields.append(field)
    return {"mode": "urlencoded", "urlencoded": fields}


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    example = {name: _EXAMPLES[name] for name in schema["properties"] if name in _EXAMPLES}
    return {"mode": "raw", "raw": json.dumps(example, indent=2), "options": {"raw": {"language": "json"}}}


if __name__ == "__main__":
    main()
