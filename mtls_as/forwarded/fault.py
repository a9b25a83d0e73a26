"""Why a forwarded certificate was refused."""

from enum import StrEnum


class ForwardingFault(StrEnum):
    """A stable short reason. It is for the log; codes are never renamed."""

    REPEATED_HEADER = "repeated_header"
    """The header came twice, or a sibling of it came along: one of them may be the client's own."""
    TOO_LARGE = "too_large"
    NOT_ASCII = "not_ascii"
    VERDICT_WITHOUT_CERTIFICATE = "verdict_without_certificate"
    """The proxy's opinion (`SUCCESS`, `NONE`, `FAILED:…`) stands where the certificate should."""
    BROKEN_PERCENT_ENCODING = "broken_percent_encoding"
    BROKEN_BASE64 = "broken_base64"
    BROKEN_PEM = "broken_pem"
    BROKEN_FIELD = "broken_field"
    """Not a structured field, or not the elements of an `X-Forwarded-Client-Cert`."""
    NOT_DER = "not_der"
    SEVERAL_CERTIFICATES = "several_certificates"
    TOO_MANY_CERTIFICATES = "too_many_certificates"
    CHAIN_WITHOUT_LEAF = "chain_without_leaf"
    CHAIN_MISMATCH = "chain_mismatch"
    """The chain repeats the leaf where it must not, or does not begin with it where it must."""
    CERTIFICATE_MISSING = "certificate_missing"
    HASH_MISSING = "hash_missing"
    HASH_MISMATCH = "hash_mismatch"
    FORGED_ELEMENT = "forged_element"
    """An element of an `X-Forwarded-Client-Cert` that a certificate smuggled in."""


class ForwardedCertificateError(Exception):
    """The header does not carry a certificate in the form of its preset. The message quotes no input."""

    def __init__(self, fault: ForwardingFault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail
