"""The whole look: which servers there are, in which order they are asked, and where the looking ends.

A server whose chain is not trusted is asked for nothing but its handshake and the head of one answer; a token goes to
the resource alone.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from mtls_as.doctor.asking import Asker
from mtls_as.doctor.connect import DEFAULT_SECONDS, look_at
from mtls_as.doctor.consent import Ask, Consent
from mtls_as.doctor.findings import Place
from mtls_as.doctor.handshake import library
from mtls_as.doctor.observations import (
    Document,
    Observations,
    ResourceObservation,
    ServerObservation,
    is_object,
    member_of,
)
from mtls_as.doctor.own import present, read_own, stranger
from mtls_as.doctor.tokens import ask_for_token
from mtls_as.rfc.rfc3986_uri import https_origin, is_https_url
from mtls_as.rfc.rfc5280_certificate import Certificate, CertificateError, parse_pem_certificates
from mtls_as.rfc.rfc8414_metadata import MetadataError
from mtls_as.rfc.rfc8414_metadata import metadata_url as issuer_metadata_url
from mtls_as.rfc.rfc9728_resource_metadata import ResourceMetadataError
from mtls_as.rfc.rfc9728_resource_metadata import metadata_url as resource_metadata_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user gave."""

    url: str
    issuer: str | None = None
    client_id: str | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    ca: Path | None = None
    scope: str | None = None
    resource: str | None = None
    may_ask: Ask = lambda _host, _named_by: False
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    seconds: float = DEFAULT_SECONDS


async def observe(wanted: Wanted) -> Observations:
    """Look at everything that was asked for. Raises `OSError` for a CA file that cannot be read, and nothing else."""
    look = _Look(wanted)
    async with Asker(look.context(), seconds=wanted.seconds) as asker:
        await look.run(asker)
    return look.seen


class _Look:
    """One look; `seen` grows with each step."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        own = None
        if wanted.certificate is not None and wanted.private_key is not None:
            own = read_own(wanted.certificate, wanted.private_key)
        self._own = own if own is not None and own.is_usable else None
        given = [url for url in (wanted.url, wanted.issuer) if url is not None]
        self._consent = Consent(given, wanted.may_ask)
        self.seen = Observations(
            url=wanted.url,
            at=wanted.clock(),
            given_issuer=wanted.issuer,
            given_resource=wanted.resource,
            ca_file=wanted.ca,
            trust_anchors=_anchors(wanted.ca),
            libraries=f"{library()} looked; the client's own connections are made by {ssl.OPENSSL_VERSION}",
            own=own,
        )

    def context(self, identity: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """The client's context: its own certificate, or another."""
        context = ssl.create_default_context(cafile=self._wanted.ca)
        if identity is None and self._own is not None:
            identity = (self._own.certificate_file, self._own.key_file)
        if identity is not None:
            present(context, identity)
        return context

    async def run(self, asker: Asker) -> None:
        url, issuer = self._wanted.url, self._wanted.issuer
        if issuer is not None and issuer != url:
            await self._run_resource(asker, await self._look_at(url, Place.RESOURCE))
            return
        server = await self._look_at(url, Place.ISSUER)
        if server.is_trusted:
            await self._read_metadata(asker, url)
            if issuer is None and not is_object(self.seen.metadata) and not is_object(self.seen.openid_metadata):
                resource = await self._read_resource(asker)
                if resource.is_recognised:
                    self._note(metadata=None, openid_metadata=None, servers=(replace(server, place=Place.RESOURCE),))
                    await self._run_resource(asker, server, resource)
                    return
        self._note(issuer=url)
        await self._run_issuer(asker)

    async def _run_resource(
        self, asker: Asker, server: ServerObservation, resource: ResourceObservation | None = None
    ) -> None:
        if not server.is_trusted:
            why = "the server cannot be talked to"
            self._note(resource=ResourceObservation(url=self._wanted.url, unasked=why))
        else:
            self._note(resource=resource or await self._read_resource(asker))
        issuer = self._wanted.issuer or self._issuer_of_resource()
        token = None
        if issuer is not None:
            self._note(issuer=issuer)
            await self._look_at(issuer, Place.ISSUER)
            if self._is_trusted(Place.ISSUER):
                await self._read_metadata(asker, issuer)
            token = await self._run_issuer(asker)
        else:
            self._note(no_token="the authorization server is not known: give --issuer")  # noqa: S106 # not a secret
        if token is not None and server.is_trusted:
            await self._use_token(asker, token)

    async def _run_issuer(self, asker: Asker) -> str | None:
        """Keys and a token. The token is for the caller alone."""
        if self._is_trusted(Place.ISSUER):
            await self._read_keys(asker)
        return await self._get_token()

    async def _look_at(self, url: str, place: Place) -> ServerObservation:
        known = next((server for server in self.seen.servers if _origin(server.url) == _origin(url)), None)
        if known is not None:
            server = replace(known, place=place, url=url)
        else:
            context = self.context()
            context.check_hostname = False  # the chain is to be judged by itself: the name is, too
            server = await look_at(
                url,
                place,
                context=context,
                identity=None if self._own is None else (self._own.certificate_file, self._own.key_file),
                target=urlsplit(url).path or "/",
                seconds=self._wanted.seconds,
            )
        self._note(servers=(*self.seen.servers, server))
        return server

    async def _read_metadata(self, asker: Asker, issuer: str) -> None:
        try:
            self._note(metadata=await asker.document(issuer_metadata_url(issuer)))
        except MetadataError as error:
            self._note(metadata=Document(url=issuer, failure=str(error)))
            return
        if self.seen.metadata is not None and self.seen.metadata.failure is not None:
            place = f"{issuer.rstrip('/')}/.well-known/openid-configuration"  # OpenID Connect Discovery 1.0 §4
            self._note(openid_metadata=await asker.document(place))

    async def _read_keys(self, asker: Asker) -> None:
        uri = self._named("jwks_uri")
        if uri is not None and self._may_ask(uri):
            self._note(jwks=await asker.document(uri))

    async def _get_token(self) -> str | None:
        wanted, endpoint = self._wanted, self._token_endpoint()
        if endpoint is not None and self._may_ask(endpoint) and not self._same_server(endpoint):
            await self._look_at(endpoint, Place.TOKEN_ENDPOINT)
        missing = self._missing(endpoint)
        if missing is not None or self._own is None or wanted.client_id is None or endpoint is None:
            self._note(no_token=missing or "")
            return None
        token, seen = await ask_for_token(
            self._own,
            issuer=self.seen.issuer or wanted.url,
            endpoint=endpoint,
            client_id=wanted.client_id,
            scope=wanted.scope,
            resource=wanted.resource or self._resource_identifier(),
            ca=None if wanted.ca is None else str(wanted.ca),
            jwks=self.seen.jwks,
            seconds=wanted.seconds,
        )
        self._note(token=seen)
        return token

    def _missing(self, endpoint: str | None) -> str | None:
        """What a token request lacks."""
        if not self._is_trusted(Place.ISSUER):
            return "the authorization server cannot be talked to"
        if self._metadata_member("issuer") != self.seen.issuer:
            return "there is no metadata of this issuer"
        if endpoint is None:
            return "the metadata names no token endpoint"
        if not self._may_ask(endpoint):
            return f"the token endpoint is at {urlsplit(endpoint).hostname}: give --follow to talk to it"
        if self.seen.own is None:
            return "no certificate was given: --cert and --key"
        if self._own is None:
            return "the certificate cannot be used"
        if self._wanted.client_id is None:
            return "the client's name is not known: give --client-id"
        return None

    async def _read_resource(self, asker: Asker) -> ResourceObservation:
        url = self._wanted.url
        answer = await asker.resource(url, None)
        place = (answer.challenge or {}).get("resource_metadata")
        if place is None or not is_https_url(place) or not self._may_ask(place):
            try:
                place = resource_metadata_url(url)
            except ResourceMetadataError:
                return ResourceObservation(url=url, without_token=answer)
        return ResourceObservation(url=url, without_token=answer, metadata=await asker.document(place))

    async def _use_token(self, asker: Asker, token: str) -> None:
        resource = self.seen.resource
        if resource is None:
            return
        url = self._wanted.url
        with_token = await asker.resource(url, token)
        nobodys = ssl.create_default_context(cafile=self._wanted.ca)
        async with Asker(nobodys, seconds=self._wanted.seconds) as nobody:
            without_certificate = await nobody.resource(url, token)
        with stranger() as files:
            strangers = self.context(files)
        async with Asker(strangers, seconds=self._wanted.seconds) as other:
            other_certificate = await other.resource(url, token)
        resource = replace(
            resource,
            with_token=with_token,
            without_certificate=without_certificate,
            other_certificate=other_certificate,
        )
        self._note(resource=resource)

    def _issuer_of_resource(self) -> str | None:
        """The first authorization server that the resource names, if the user agrees to ask it."""
        named = self._resource_member("authorization_servers")
        if not isinstance(named, list) or not named or not is_https_url(named[0]):
            return None
        issuer = str(named[0])
        if self._consent.allows_issuer(issuer, named_by=self._wanted.url):
            return issuer
        self._note(issuer_withheld=issuer)
        return None

    def _resource_identifier(self) -> str | None:
        """What the resource calls itself, if that is on its own origin: anybody can write another's name (§7.3)."""
        named = self._resource_member("resource")
        if isinstance(named, str) and is_https_url(named) and _origin(named) == _origin(self._wanted.url):
            return named
        return None

    def _token_endpoint(self) -> str | None:
        aliases = self._metadata_member("mtls_endpoint_aliases")
        alias = aliases.get("token_endpoint") if isinstance(aliases, dict) else None
        return alias if is_https_url(alias) else self._named("token_endpoint")

    def _named(self, member: str) -> str | None:
        value = self._metadata_member(member)
        return value if isinstance(value, str) and is_https_url(value) else None

    def _resource_member(self, name: str) -> object:
        return None if self.seen.resource is None else member_of(self.seen.resource.metadata, name)

    def _metadata_member(self, name: str) -> object:
        return member_of(self.seen.metadata, name)

    def _may_ask(self, url: str) -> bool:
        allowed = self._consent.allows(url, named_by=self.seen.issuer or self._wanted.url)
        host = urlsplit(url).hostname or ""
        if not allowed and host not in self.seen.withheld:
            self._note(withheld=(*self.seen.withheld, host))
        return allowed

    def _same_server(self, url: str) -> bool:
        issuer = self.seen.server(Place.ISSUER)
        return issuer is not None and _origin(issuer.url) == _origin(url)

    def _is_trusted(self, place: Place) -> bool:
        server = self.seen.server(place)
        return server is not None and server.is_trusted

    def _note(self, **members: object) -> None:
        self.seen = replace(self.seen, **members)  # type: ignore[arg-type] # each is named by its own field


def _origin(url: str) -> str:
    return https_origin(url) if is_https_url(url) else url


def _anchors(ca: Path | None) -> tuple[Certificate, ...]:
    if ca is None:
        return ()
    try:
        return parse_pem_certificates(ca.read_bytes())
    except CertificateError:
        return ()
