"""`[[issuers]]`, `[authorization_details]`, `[claims_hook]` and claims: what their keys mean, and what conflicts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mtls_as.config.grant_tables import ClaimsHookTable, IssuerTable
from mtls_as.config.problems import Problem, join
from mtls_as.rfc.member_reader import did_you_mean
from mtls_as.rfc.rfc6749_framework import parse_scope
from mtls_as.rfc.rfc7517_jwk import JWKError, JWKSet, parse_jwks
from mtls_as.rfc.rfc7591_client_metadata import JWKSUri
from mtls_as.rfc.rfc9068_at_jwt import ClaimsError, read_further_claims
from mtls_as.server.trusted_issuers import TrustedIssuer


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsEndpointSettings:
    """The HTTPS endpoint of the claims hook. `timeout` is in seconds, files are PEM."""

    url: str
    timeout: float
    fail: Literal["closed", "open"]
    ca: Path | None
    certificate: Path | None
    private_key: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it names."""
        return tuple(file for file in (self.ca, self.certificate, self.private_key) if file is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsHookSettings:
    """Where further claims come from: the name of an entry point, an endpoint, or both."""

    entry_point: str | None = None
    endpoint: ClaimsEndpointSettings | None = None


def trusted_issuer(table: IssuerTable) -> TrustedIssuer:
    """The issuer of a table without conflicts."""
    return TrustedIssuer(
        issuer=table.issuer,
        keys=_keys(table),
        algorithms=tuple(table.algorithms),
        scope=parse_scope(table.scope),
        subject_prefix=f"{table.issuer}|" if table.subject_prefix is None else table.subject_prefix,
        max_lifetime=float(table.max_lifetime),
    )


def claims_hook(table: ClaimsHookTable | None, folder: Path) -> ClaimsHookSettings:
    """The hooks of a table without conflicts; relative paths are relative to `folder`."""
    if table is None:
        return ClaimsHookSettings()
    endpoint = None
    if table.url is not None:
        endpoint = ClaimsEndpointSettings(
            url=table.url,
            timeout=table.timeout,
            fail=table.fail,
            ca=None if table.ca is None else folder / table.ca,
            certificate=None if table.certificate is None else folder / table.certificate,
            private_key=None if table.private_key is None else folder / table.private_key,
        )
    return ClaimsHookSettings(entry_point=table.entry_point, endpoint=endpoint)


def find_grant_conflicts(table: Mapping[str, object]) -> Iterator[Problem]:
    """The problems of these tables that their shape does not show. Works on the file's raw tables."""
    seen: dict[str, int] = {}
    for index, issuer in _entries(table.get("issuers")):
        place, name = f"issuers[{index}]", issuer.get("issuer")
        yield from _find_key_problems(issuer, place)
        if name == table.get("issuer"):
            yield Problem(f"{place}.issuer", "is this server itself")
        elif isinstance(name, str) and seen.setdefault(name, index) != index:
            yield Problem(f"{place}.issuer", f"is the same as in issuers[{seen[name]}]")
    declared = table.get("authorization_details")
    types = list(declared) if isinstance(declared, Mapping) else []
    for index, resource in _entries(table.get("resources")):
        place = f"resources[{index}]"
        if "claims" in resource:
            yield from _find_claim_problems(resource["claims"], f"{place}.claims")
        named = resource.get("authorization_details_types")
        for kind in named if isinstance(named, list) else ():
            if isinstance(kind, str) and kind not in types:
                message = f'there is no type "{kind}" in [authorization_details]' + did_you_mean(kind, types)
                yield Problem(f"{place}.authorization_details_types", message)
    if isinstance(hook := table.get("claims_hook"), Mapping):
        yield from _find_hook_conflicts(hook)


def _find_key_problems(issuer: Mapping[str, object], place: str) -> Iterator[Problem]:
    if ("jwks" in issuer) == ("jwks_uri" in issuer):
        yield Problem(place, "needs either jwks or jwks_uri")
    elif "jwks" in issuer:
        try:
            if not parse_jwks(issuer["jwks"]).keys:
                yield Problem(f"{place}.jwks", "holds no key that can be used")
        except JWKError as error:
            yield Problem(f"{place}.jwks", str(error))


def _find_claim_problems(claims: object, place: str) -> Iterator[Problem]:
    try:
        read_further_claims(claims)
    except ClaimsError as error:
        yield Problem(join(place, error.claim) if error.claim else place, error.message)


def _find_hook_conflicts(hook: Mapping[str, object]) -> Iterator[Problem]:
    if "entry_point" not in hook and "url" not in hook:
        yield Problem("claims_hook", "needs entry_point, url or both")
    for key in ("timeout", "fail", "ca", "certificate", "private_key"):
        if key in hook and "url" not in hook:
            yield Problem(f"claims_hook.{key}", "belongs to url, which is missing")
    if ("certificate" in hook) != ("private_key" in hook):
        yield Problem("claims_hook", "certificate and private_key come together")


def _keys(table: IssuerTable) -> JWKSet | JWKSUri:
    return JWKSUri(url=table.jwks_uri) if table.jwks_uri is not None else parse_jwks(table.jwks)


def _entries(value: object) -> Iterator[tuple[int, Mapping[str, object]]]:
    for index, entry in enumerate(value if isinstance(value, list) else ()):
        if isinstance(entry, Mapping):
            yield index, entry
