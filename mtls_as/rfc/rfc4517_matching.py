"""RFC 4517 §4.2.15, distinguishedNameMatch: as many RDNs, in the same order, each with the same types and values."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mtls_as.rfc.rfc4514_dn import DistinguishedName, RelativeName
from mtls_as.rfc.rfc4518_stringprep import prepare_text

_MAX_SHOWN: Final = 200


class DNDifferenceKind(StrEnum):
    """In what two names differ."""

    COUNT = "count"
    ORDER = "order"
    TYPES = "types"
    VALUE = "value"


@dataclass(frozen=True, slots=True, kw_only=True)
class DNDifference:
    """The first difference between an expected name and the one found, read as RFC 4514 writes them."""

    kind: DNDifferenceKind
    expected: str
    found: str
    position: int = 0
    """Which RDN, counted from 1 in the order of the string form; 0 when the difference is of the whole name."""
    count: int = 0
    """How many RDNs are expected."""
    attribute: str = ""

    def __str__(self) -> str:
        place = f"RDN {self.position} of {self.count}: " if self.position else ""
        values = f"expected {_shown(self.expected)}, certificate has {_shown(self.found)}"
        match self.kind:
            case DNDifferenceKind.COUNT:
                return f"another number of RDNs: {values}"
            case DNDifferenceKind.ORDER:
                return f"the same RDNs in another order: {values}"
            case DNDifferenceKind.TYPES:
                return f"{place}{values}"
            case DNDifferenceKind.VALUE:
                hint = " (not text: only this hexadecimal form matches)" if self.found.startswith("#") else ""
                return f"{place}{self.attribute}: {values}{hint}"


def compare_dn(expected: DistinguishedName, actual: DistinguishedName) -> DNDifference | None:
    """Match a name found in a certificate against the expected one; None when they match, else the first difference.

    distinguishedNameMatch (RFC 4517 §4.2.15), restricted so that no two implementations can read it differently:
    PrintableString and UTF8String (IA5String for DC and e-mail) of known attributes compare as text, ASCII letters
    without case, spaces trimmed and collapsed, all else exactly and without Unicode normalisation. Every other value,
    and text with control characters, matches only the same DER. An empty name matches nothing.
    """
    if len(expected.rdns) != len(actual.rdns) or expected.is_empty:
        return DNDifference(kind=DNDifferenceKind.COUNT, expected=str(expected), found=str(actual))
    pairs = list(zip(reversed(expected.rdns), reversed(actual.rdns), strict=True))
    for position, (wanted, found) in enumerate(pairs, 1):
        difference = _compare_rdn(wanted, found, position, len(pairs))
        if difference is not None:
            return _order_difference(expected, actual) or difference
    return None


def canonical_name(name: DistinguishedName) -> Hashable:
    """A key that two names from certificates share just when they match by `compare_dn`; for finding issuers."""
    return tuple(frozenset((attribute.oid, attribute.canonical) for attribute in rdn) for rdn in name.rdns)


def has_control_characters(name: DistinguishedName) -> bool:
    """Whether a value holds control characters, so that it can never match as text."""
    return any(
        attribute.text is not None and prepare_text(attribute.text) is None for rdn in name.rdns for attribute in rdn
    )


def _compare_rdn(expected: RelativeName, actual: RelativeName, position: int, count: int) -> DNDifference | None:
    found = {attribute.oid: attribute for attribute in actual}
    if found.keys() != {attribute.oid for attribute in expected}:
        return DNDifference(
            kind=DNDifferenceKind.TYPES,
            expected="+".join(attribute.label for attribute in expected),
            found="+".join(attribute.label for attribute in actual),
            position=position,
            count=count,
        )
    for attribute in expected:
        if not attribute.matches(found[attribute.oid]):
            return DNDifference(
                kind=DNDifferenceKind.VALUE,
                expected=attribute.value,
                found=found[attribute.oid].value,
                position=position,
                count=count,
                attribute=attribute.label,
            )
    return None


def _order_difference(expected: DistinguishedName, actual: DistinguishedName) -> DNDifference | None:
    # The usual mistake: a name copied from a tool that prints the first RDN first.
    remaining = list(actual.rdns)
    for wanted in expected.rdns:
        twin = next((rdn for rdn in remaining if _compare_rdn(wanted, rdn, 0, 0) is None), None)
        if twin is None:
            return None
        remaining.remove(twin)
    return DNDifference(kind=DNDifferenceKind.ORDER, expected=str(expected), found=str(actual))


def _shown(text: str) -> str:
    if not text:
        return "none"
    cut, rest = text[:_MAX_SHOWN], text[_MAX_SHOWN:]
    # Look-alikes of other scripts are told apart by their code points.
    return f"'{cut}'{' and so on' if rest else ''}{'' if cut.isascii() else f' (that is {cut!a})'}"
