"""Whether answers are right, each of them, judged by other code than the project's."""

import base64
import hashlib
import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode

import jwt

from benchmark.contenders import LIMIT_NAME, PEER_NAME, Contender
from benchmark.failures import BenchmarkError

AUDIENCE: Final = "https://localhost:8445"
SCOPE: Final = "reports:read"
TOKEN_FORM: Final = {"grant_type": "client_credentials", "client_id": "reports", "scope": SCOPE}
_OPAQUE_AUDIENCE: Final = "https://opaque.example"

Check = Callable[[Path], None]
"""Raises `BenchmarkError` unless a file of answers, one in each line, holds right ones alone."""


class Client:
    """The client `reports`, which asks a contender directly, over one connection."""

    def __init__(self, contender: Contender, certificates: Path) -> None:
        context = ssl.create_default_context(cafile=certificates / "ca.pem")
        context.load_cert_chain(certificates / "reports.pem", certificates / "reports-key.pem")
        self._name = contender.name
        self._connection = http.client.HTTPSConnection("localhost", contender.port, context=context)
        der = ssl.PEM_cert_to_DER_cert((certificates / "reports.pem").read_text())
        self._thumbprint = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def introspection_forms(self, count: int) -> list[str]:
        """Forms that ask about so many tokens; of the peer's, opaque ones, since it keeps no others."""
        form = TOKEN_FORM | ({"resource": _OPAQUE_AUDIENCE} if self._name == PEER_NAME else {})
        tokens = [str(self._ask("POST", "/token", form)["access_token"]) for _ in range(count)]
        path = self.introspection_path
        if not all(self._ask("POST", path, {"client_id": "reports", "token": token})["active"] for token in tokens):
            raise BenchmarkError(f"{self._name}: an active token is said to be none")
        return [urlencode({"client_id": "reports", "token": token}) for token in tokens]

    @property
    def introspection_path(self) -> str:
        """Where tokens are introspected."""
        return "/token/introspection" if self._name == PEER_NAME else "/introspect"

    def token_check(self) -> Check:
        """Each answer is a new token, signed by a published key, for the audience, and bound to the certificate."""
        if self._name == LIMIT_NAME:
            return _check_constant
        return judge_of_tokens(self._ask("GET", "/jwks"), self._thumbprint)

    def introspection_check(self) -> Check:
        """Each answer tells of an active token that is bound to the certificate."""

        def check(answers: Path) -> None:
            for answer in set(_lines(answers)):
                said = json.loads(answer)
                if said["active"] is not True or said["cnf"] != {"x5t#S256": self._thumbprint}:
                    raise BenchmarkError(f"{self._name}: an introspection that says {said}")

        return check

    def _ask(self, method: str, path: str, form: dict[str, str] | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
        self._connection.request(method, path, urlencode(form) if form else None, headers)
        with self._connection.getresponse() as response:
            body = response.read()
        if response.status != http.client.OK:
            raise BenchmarkError(f"{self._name}, {path}: {response.status} {body.decode()}")
        document: dict[str, Any] = json.loads(body)
        return document


def judge_of_tokens(jwks: dict[str, Any], thumbprint: str) -> Check:
    """Judges answers with tokens; one that has been seen before is wrong too."""
    keys = {key["kid"]: jwt.PyJWK(key).key for key in jwks["keys"]}
    seen = set[str]()

    def check(answers: Path) -> None:
        for line in _lines(answers):
            try:
                claims = _claims(json.loads(line), keys)
            except (jwt.InvalidTokenError, ValueError, KeyError) as error:
                raise BenchmarkError(f"not the token that was asked for: {error!r}: {line}") from error
            if claims["cnf"] != {"x5t#S256": thumbprint} or claims["scope"] != SCOPE or claims["jti"] in seen:
                raise BenchmarkError(f"a token with these claims: {claims}")
            seen.add(claims["jti"])

    return check


def _claims(answer: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    token = answer["access_token"]
    header = jwt.get_unverified_header(token)
    if (answer["token_type"], header["typ"]) != ("Bearer", "at+jwt"):
        raise ValueError(answer["token_type"], header["typ"])
    required = ["exp", "iss", "jti", "cnf", "scope", "client_id"]
    claims: dict[str, Any] = jwt.decode(
        token, keys[header["kid"]], algorithms=["ES256"], audience=AUDIENCE, options={"require": required}
    )
    return claims


def _check_constant(answers: Path) -> None:
    if set(_lines(answers)) != {"CN=reports"}:
        raise BenchmarkError("nginx answers something else than its constant")


def _lines(answers: Path) -> Iterator[str]:
    with answers.open() as lines:
        for line in lines:
            yield line.rstrip("\n")
