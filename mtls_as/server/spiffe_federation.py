"""SPIFFE federation: the bundles of the configured trust domains, kept current from files and from bundle endpoints.

Each bundle belongs to the trust domain that it is configured for (SPIFFE Federation §7.3). A bundle that cannot be had
or read, or that is older than the one in force, changes nothing.
"""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from mtls_as.pki.spiffe_domains import SpiffeDomains
from mtls_as.pki.spiffe_files import FileState, file_state, read_bundle_file, write_bundle_file
from mtls_as.pki.trust_domains import TrustConfigurationError
from mtls_as.remote.documents import DocumentUnavailable
from mtls_as.remote.spiffe_endpoint import fetch_document, spiffe_context, web_context
from mtls_as.rfc.spiffe_bundle import BundleError, SpiffeBundle, parse_bundle
from mtls_as.rfc.spiffe_id import SpiffeID
from mtls_as.server.ports import Clock

DEFAULT_REFRESH: Final = 300
"""Seconds between two fetches of a bundle without `spiffe_refresh_hint` (SPIFFE Federation §4.1)."""
REFRESH_LIMITS: Final = (60, 3600)
"""What a hint can shorten and lengthen that to: it must neither make us flood an endpoint nor keep a dead key alive."""
FIRST_RETRY: Final = 30
"""Seconds between two attempts while there is no bundle at all."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleEndpoint:
    """Where a trust domain publishes its bundle, and who serves it there."""

    url: str
    """An https URL."""
    ca: Path | None = None
    """PEM file of the CAs to trust for this URL; None for those of the system (`https_web`)."""
    server: SpiffeID | None = None
    """The workload that serves it (`https_spiffe`); then `ca` is None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiffeDomainSettings:
    """The configuration of one SPIFFE trust domain: a file, an endpoint, or an endpoint whose bundle a file keeps."""

    trust_domain: str
    bundle: Path | None = None
    endpoint: BundleEndpoint | None = None


@dataclass(slots=True, kw_only=True)
class _Member:
    """What is known of one trust domain."""

    settings: SpiffeDomainSettings
    bundle: SpiffeBundle | None = None
    highest_sequence: int = field(default=-1)
    file: FileState | None = None
    attempted_at: float | None = None

    @property
    def interval(self) -> float:
        """Seconds between two fetches."""
        if self.bundle is None:
            return FIRST_RETRY
        hint = DEFAULT_REFRESH if self.bundle.refresh_hint is None else self.bundle.refresh_hint
        shortest, longest = REFRESH_LIMITS
        return max(shortest, min(hint, longest))

    def is_due(self, now: float) -> bool:
        # A difference below zero means that the clock was set back; waiting for it to catch up could take years.
        return self.attempted_at is None or not 0 <= now - self.attempted_at < self.interval


class Federation:
    """The bundles in force. For one event loop; each process keeps its own.

    `keeps_copies` decides whether a fetched bundle replaces the file of a domain that has both. What a federation
    `before` this one, under other settings, knows of a domain whose settings are the same is taken over.
    """

    def __init__(
        self,
        settings: Sequence[SpiffeDomainSettings],
        *,
        clock: Clock,
        keeps_copies: bool = True,
        before: "Federation | None" = None,
    ) -> None:
        """Read every file there is. Raises `TrustConfigurationError`, which names the trust domain and the file.

        Nothing is fetched yet: a domain without a file trusts nobody until `refresh` has been there.
        """
        self._clock = clock
        self._keeps_copies = keeps_copies
        known = {} if before is None else before._members  # noqa: SLF001 # one of its own kind
        self._members: dict[str, _Member] = {
            domain.trust_domain: _successor(domain, known.get(domain.trust_domain)) for domain in settings
        }
        self._domains = SpiffeDomains.named(self._members)
        for member in self._members.values():
            if member.bundle is not None:
                self._domains = self._domains.with_bundle(member.settings.trust_domain, member.bundle)
            self._load(member)

    def current(self) -> SpiffeDomains:
        """The trust domains with the bundles in force now."""
        return self._domains

    async def refresh(self) -> None:
        """Read the files that have changed, and fetch the bundles that are due: to be called every second or so.

        What fails is logged, never raised.
        """
        for member in self._members.values():
            self._read_changed(member)
        now = self._clock()
        due = [member for member in self._members.values() if member.settings.endpoint and member.is_due(now)]
        for member in due:
            member.attempted_at = now
        await asyncio.gather(*(self._fetch(member) for member in due))

    def _load(self, member: _Member) -> None:
        settings = member.settings
        place = f"SPIFFE trust domain '{settings.trust_domain}'"
        try:
            if settings.bundle is not None and (settings.bundle.exists() or _needs_file(settings)):
                member.file = file_state(settings.bundle)
                self._take(member, read_bundle_file(settings.bundle))
            if settings.endpoint is not None and settings.endpoint.ca is not None:
                web_context(settings.endpoint.ca)
        except BundleError as error:
            raise TrustConfigurationError(f"{place}: {error}") from None
        except OSError as error:
            ca = settings.endpoint.ca if settings.endpoint else None
            raise TrustConfigurationError(f"{place}: {ca}: {error.strerror or error}") from None

    def _read_changed(self, member: _Member) -> None:
        path = member.settings.bundle
        state = None if path is None else file_state(path)
        if path is None or state == member.file:
            return
        member.file = state
        try:
            self._take(member, read_bundle_file(path))
        except BundleError as error:
            self._complain(member, str(error))

    async def _fetch(self, member: _Member) -> None:
        endpoint = member.settings.endpoint
        if endpoint is None:
            return
        try:
            document = await fetch_document(endpoint.url, self._context(endpoint))
            self._take(member, parse_bundle(document))
        except DocumentUnavailable as error:
            self._complain(member, str(error))
        except (BundleError, OSError) as error:
            self._complain(member, f"{endpoint.url}: {error}")
        else:
            self._keep(member, document)

    def _context(self, endpoint: BundleEndpoint) -> ssl.SSLContext:
        """Made anew for each fetch, since authorities change (SPIFFE Federation §5.2.2.4). Raises `BundleError`."""
        if endpoint.server is None:
            return web_context(endpoint.ca)
        serving = self._members[endpoint.server.trust_domain].bundle
        if serving is None or not serving.x509_authorities:
            raise BundleError(f"the trust domain of '{endpoint.server}' has no X.509 authority yet")
        return spiffe_context(endpoint.server, serving.x509_authorities)

    def _take(self, member: _Member, bundle: SpiffeBundle) -> None:
        """Put a bundle into force. Raises `BundleError` for one that is older than what was in force before."""
        if bundle.sequence is not None and bundle.sequence < member.highest_sequence:
            reason = f"its sequence number {bundle.sequence} is behind {member.highest_sequence}, which was here before"
            raise BundleError(reason)
        if bundle.sequence is not None:
            member.highest_sequence = bundle.sequence
        if bundle == member.bundle:
            return
        member.bundle = bundle
        self._domains = self._domains.with_bundle(member.settings.trust_domain, bundle)
        x509, jwt = len(bundle.x509_authorities), len(bundle.jwt_authorities.keys)
        _log.log(
            logging.INFO if x509 + jwt else logging.WARNING,
            "SPIFFE trust domain '%s': generation %d, %d X.509 authorities, %d JWT authorities",
            member.settings.trust_domain,
            self._domains.generation,
            x509,
            jwt,
        )

    def _keep(self, member: _Member, document: object) -> None:
        path = member.settings.bundle
        if path is None or not self._keeps_copies:
            return
        try:
            write_bundle_file(path, document)
        except OSError as error:
            self._complain(member, f"{path}: the fetched bundle cannot be kept: {error.strerror or error}")
        else:
            member.file = file_state(path)

    def _complain(self, member: _Member, reason: str) -> None:
        state = "nobody in it is trusted" if member.bundle is None else "the bundle in force stays"
        _log.warning("SPIFFE trust domain '%s': %s; %s", member.settings.trust_domain, reason, state)


def _successor(settings: SpiffeDomainSettings, before: _Member | None) -> _Member:
    """A copy, since the other goes on until this one takes its place; what it fetches until then is fetched again."""
    if before is None or before.settings != settings:
        return _Member(settings=settings)
    return replace(before, attempted_at=None)


def _needs_file(settings: SpiffeDomainSettings) -> bool:
    """Whether the file must be there from the start: it is all there is, or proves who serves the endpoint."""
    endpoint = settings.endpoint
    return endpoint is None or (endpoint.server is not None and endpoint.server.trust_domain == settings.trust_domain)
