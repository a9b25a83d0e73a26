"""RFC 4519, attribute types of names: their object identifiers, the names people write, and how they compare."""

from types import MappingProxyType
from typing import Final

_DOMAIN_COMPONENT: Final = "0.9.2342.19200300.100.1.25"
_EMAIL_ADDRESS: Final = "1.2.840.113549.1.9.1"

# The first name of each attribute is the one that `str()` writes. RFC 4514 §3 names the first nine; the others are the
# names of X.520, PKCS #9 and the CA/Browser Forum as `openssl x509 -nameopt RFC2253` prints them.
_NAMES: Final = (
    ("2.5.4.3", "CN", "commonName"),
    ("2.5.4.7", "L", "localityName"),
    ("2.5.4.8", "ST", "stateOrProvinceName"),
    ("2.5.4.10", "O", "organizationName"),
    ("2.5.4.11", "OU", "organizationalUnitName"),
    ("2.5.4.6", "C", "countryName"),
    ("2.5.4.9", "STREET", "streetAddress"),
    (_DOMAIN_COMPONENT, "DC", "domainComponent"),
    ("0.9.2342.19200300.100.1.1", "UID", "userId"),
    (_EMAIL_ADDRESS, "emailAddress", "E"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.4", "SN", "surname"),
    ("2.5.4.42", "GN", "givenName"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.20", "telephoneNumber"),
    ("2.5.4.41", "name"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.97", "organizationIdentifier"),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL", "jurisdictionLocalityName"),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST", "jurisdictionStateOrProvinceName"),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC", "jurisdictionCountryName"),
)
NAME_OF: Final = MappingProxyType({oid: names[0] for oid, *names in _NAMES})
"""The name to write for each known type."""
OID_OF: Final = MappingProxyType({name.lower(): oid for oid, *names in _NAMES for name in names})
"""The type of each known name, in lower case."""
IA5_TYPES: Final = frozenset({_DOMAIN_COMPONENT, _EMAIL_ADDRESS})
"""Types whose values are IA5String (RFC 4519 §2.4, RFC 2985 §5.2.1); all others known here are DirectoryString."""
