"""Any number of registered clients, of every way to authenticate with a certificate, and the certificates of some."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Connection, insert, text

from mtls_as.rfc.rfc7517_jwk import public_jwk
from mtls_as.server.clients import ClientSource, parse_client
from mtls_as.storage import Database
from mtls_as.storage.clients import client_columns
from mtls_as.storage.schema import clients
from tests.authority import Authority, Identity, dns, name, self_signed, uri

WAYS: Final = ("subject_dn", "san_dns", "san_uri", "registered_certificate", "registered_key")
"""What the client of a number has registered: these in turn."""
_ROWS_AT_ONCE: Final = 20_000
_AT: Final = 1_700_000_000.0


def client_id(number: int) -> str:
    """The name of a client."""
    return f"client-{number:07}"


@dataclass
class Population:
    """Clients by their numbers: the first `active` have certificates that exist; those of the others nobody has."""

    active: int
    authority: Authority = field(default_factory=lambda: Authority.create("Clients CA"))
    _identities: dict[int, Identity] = field(default_factory=dict)

    def identity(self, number: int) -> Identity:
        """The certificate of an active client."""
        known = self._identities.get(number)
        if known is None:
            assert number < self.active
            known = self._identities[number] = self._issue(number)
        return known

    def load(self, url: str, count: int) -> None:
        """Register so many clients in an empty database: what `ClientRepository.add` would write, in large pieces."""

        # Before the transaction, which must not wait for keys to be made.
        first = list(self._rows(range(min(self.active, count))))

        def work(connection: Connection) -> None:
            statement = str(insert(clients).compile(dialect=connection.dialect))
            connection.exec_driver_sql(statement, first)
            for start in range(len(first), count, _ROWS_AT_ONCE):
                rows = list(self._rows(range(start, min(count, start + _ROWS_AT_ONCE))))
                connection.exec_driver_sql(statement, rows)
            found = connection.execute(text("SELECT count(*) FROM clients")).scalar()
            assert found == count

        Database.at(url).run(work, writes=True)

    def members(self, number: int) -> dict[str, object]:
        """The registration of a client."""
        dn, host, link, certificate, _ = WAYS
        common = {"client_id": client_id(number), "scope": "reports:read"}
        match WAYS[number % len(WAYS)]:
            case way if way == dn:
                identity: dict[str, object] = {"tls_client_auth_subject_dn": f"CN={client_id(number)},O=Example"}
            case way if way == host:
                identity = {"tls_client_auth_san_dns": f"{client_id(number)}.example"}
            case way if way == link:
                identity = {"tls_client_auth_san_uri": f"https://{client_id(number)}.example/"}
            case way:
                jwks = self._jwks(number, with_certificate=way == certificate)
                return common | {"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": jwks}
        return common | {"token_endpoint_auth_method": "tls_client_auth", "trust": "default"} | identity

    def _issue(self, number: int) -> Identity:
        host = f"{client_id(number)}.example"
        match WAYS[number % len(WAYS)]:
            case "subject_dn":
                return self.authority.issue(name(client_id(number), organization="Example"))
            case "san_dns":
                return self.authority.issue(san=[dns(host)])
            case "san_uri":
                return self.authority.issue(san=[uri(f"https://{host}/")])
            case _:
                return self_signed(client_id(number))

    def _jwks(self, number: int, *, with_certificate: bool) -> dict[str, object]:
        identity = self.identity(number) if number < self.active else self._nobody
        return {"keys": [_jwk(identity, with_certificate=with_certificate)]}

    @cached_property
    def _nobody(self) -> Identity:
        return self_signed("nobody")

    def _rows(self, numbers: range) -> Iterator[tuple[object, ...]]:
        """In the order of the table's columns. Active clients are made one by one, the others after a pattern."""
        for number in numbers:
            if number < self.active:
                values = client_columns(parse_client(self.members(number), ClientSource.STORAGE))
                registration = values["registration"]
            else:
                registration = self._patterns[number % len(WAYS)].replace(_PATTERN_ID, client_id(number))
            yield (client_id(number), registration, True, _AT, _AT)

    @cached_property
    def _patterns(self) -> list[str]:
        """The columns of one client for each way, whose name is to be replaced."""
        assert [column.name for column in clients.columns] == [
            *("client_id", "registration", "enabled", "created_at", "updated_at")
        ]
        found = []
        for index in range(len(WAYS)):
            number = int(_PATTERN_ID.removeprefix("client-")) // len(WAYS) * len(WAYS) + index
            client = parse_client(self.members(number), ClientSource.STORAGE)
            found.append(str(client_columns(client)["registration"]).replace(client_id(number), _PATTERN_ID))
        return found


_PATTERN_ID: Final = "client-9999995"


def _jwk(identity: Identity, *, with_certificate: bool) -> dict[str, object]:
    key = identity.private_key.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    certificate = {"x5c": [base64.b64encode(identity.der).decode()]} if with_certificate else {}
    return {**public_jwk(key, kid="1", algorithm="ES256"), **certificate}
