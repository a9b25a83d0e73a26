"""Why a request was refused: the closed list of stable codes that logs, metrics and `cert explain` share.

The list is documented for operators in `docs/reasons.md`; a test keeps both equal. Codes are never renamed.
"""

from enum import StrEnum


class Refusal(StrEnum):
    """A stable reason code. It goes to the log, never to the client."""

    # The request itself (RFC 6749 §5.2)
    MALFORMED_REQUEST = "malformed_request"
    MISSING_PARAMETER = "missing_parameter"
    REPEATED_PARAMETER = "repeated_parameter"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    REQUEST_TOO_LARGE = "request_too_large"

    # How often somebody asks (RFC 6585 §4)
    RATE_LIMITED = "rate_limited"
    TOO_MANY_FAILURES = "too_many_failures"

    # Client authentication (RFC 6749 §2.3, RFC 8705 §2)
    UNKNOWN_CLIENT = "unknown_client"
    DISABLED_CLIENT = "disabled_client"
    SEVERAL_AUTHENTICATION_METHODS = "several_authentication_methods"
    WRONG_AUTHENTICATION_METHOD = "wrong_authentication_method"
    CREDENTIALS_MALFORMED = "credentials_malformed"
    CLIENT_ID_CONFLICT = "client_id_conflict"
    WRONG_SECRET = "wrong_secret"  # noqa: S105 # a reason code
    NO_CERTIFICATE = "no_certificate"
    SUBJECT_MISMATCH = "subject_mismatch"
    KEY_NOT_REGISTERED = "key_not_registered"
    REGISTERED_KEYS_UNAVAILABLE = "registered_keys_unavailable"

    # Certificates that a proxy forwards (RFC 8705 §6.5, RFC 9440 §4)
    PROXY_NOT_AUTHENTICATED = "proxy_not_authenticated"
    FORWARDED_CERTIFICATE_MALFORMED = "forwarded_certificate_malformed"
    FORWARDED_CERTIFICATE_REPEATED = "forwarded_certificate_repeated"

    # Client assertions (RFC 7521 §4.2), JWT-SVIDs among them
    ASSERTION_MALFORMED = "assertion_malformed"
    ASSERTION_KEY_UNKNOWN = "assertion_key_unknown"
    ASSERTION_UNTRUSTED = "assertion_untrusted"
    ASSERTION_WRONG_AUDIENCE = "assertion_wrong_audience"
    ASSERTION_EXPIRED = "assertion_expired"
    ASSERTION_NOT_YET_VALID = "assertion_not_yet_valid"
    ASSERTION_LIFETIME_TOO_LONG = "assertion_lifetime_too_long"
    ASSERTION_REPLAYED = "assertion_replayed"

    # DPoP proofs (RFC 9449 §4.3, §5, §8)
    DPOP_PROOF_MISSING = "dpop_proof_missing"
    DPOP_PROOF_MALFORMED = "dpop_proof_malformed"
    DPOP_PROOF_UNTRUSTED = "dpop_proof_untrusted"
    DPOP_PROOF_OF_ANOTHER_REQUEST = "dpop_proof_of_another_request"
    DPOP_PROOF_EXPIRED = "dpop_proof_expired"
    DPOP_PROOF_NOT_YET_VALID = "dpop_proof_not_yet_valid"
    DPOP_PROOF_REPLAYED = "dpop_proof_replayed"
    DPOP_NONCE_NEEDED = "dpop_nonce_needed"
    DPOP_NOT_REGISTERED = "dpop_not_registered"

    # SPIFFE identities: draft-ietf-oauth-spiffe-client-auth
    NOT_AN_SVID = "not_an_svid"
    SPIFFE_BUNDLE_UNAVAILABLE = "spiffe_bundle_unavailable"

    # The certificate and its path (RFC 5280 §6)
    CERTIFICATE_MALFORMED = "certificate_malformed"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    UNTRUSTED_ISSUER = "untrusted_issuer"
    BAD_SIGNATURE = "bad_signature"
    PATH_TOO_LONG = "path_too_long"
    NAME_CONSTRAINT_VIOLATED = "name_constraint_violated"
    UNKNOWN_CRITICAL_EXTENSION = "unknown_critical_extension"
    WRONG_EXTENDED_KEY_USAGE = "wrong_extended_key_usage"
    WRONG_KEY_USAGE = "wrong_key_usage"
    CA_CERTIFICATE_AS_LEAF = "ca_certificate_as_leaf"
    WEAK_KEY = "weak_key"
    WEAK_SIGNATURE = "weak_signature"
    SIGNATURE_ALGORITHM_NOT_ALLOWED = "signature_algorithm_not_allowed"
    REQUIRED_ISSUER_MISSING = "required_issuer_missing"
    REQUIRED_POLICY_MISSING = "required_policy_missing"
    PATH_INVALID = "path_invalid"
    CERTIFICATE_REVOKED = "certificate_revoked"
    REVOCATION_UNKNOWN = "revocation_unknown"
    UNKNOWN_TRUST_DOMAIN = "unknown_trust_domain"

    # The grant (RFC 6749 §4, RFC 8707)
    UNSUPPORTED_GRANT = "unsupported_grant"
    GRANT_NOT_ALLOWED = "grant_not_allowed"
    SCOPE_NOT_ALLOWED = "scope_not_allowed"
    RESOURCE_NOT_ALLOWED = "resource_not_allowed"
    AUTHORIZATION_DETAILS_INVALID = "authorization_details_invalid"
    CLAIMS_HOOK_FAILED = "claims_hook_failed"

    # Tokens and assertions of others as grants (RFC 8693, RFC 7523 §2.1)
    TOKEN_TYPE_UNSUPPORTED = "token_type_unsupported"  # noqa: S105 # a reason code
    ISSUER_UNKNOWN = "issuer_unknown"
    ISSUER_KEYS_UNAVAILABLE = "issuer_keys_unavailable"
    EXCHANGE_NOT_ALLOWED = "exchange_not_allowed"
    TOKEN_NOT_OF_THIS_CONNECTION = "token_not_of_this_connection"  # noqa: S105 # a reason code
    ACTOR_NOT_ALLOWED = "actor_not_allowed"
    SUBJECT_NOT_ALLOWED = "subject_not_allowed"

    # A token that is introspected, revoked or exchanged (RFC 7662 §2.2, RFC 7009 §2.1)
    TOKEN_UNKNOWN = "token_unknown"  # noqa: S105 # a reason code
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 # a reason code
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 # a reason code
    TOKEN_OF_ANOTHER_CLIENT = "token_of_another_client"  # noqa: S105 # a reason code
    TOKEN_NOT_FOR_CALLER = "token_not_for_caller"  # noqa: S105 # a reason code

    # Dynamic registration (RFC 7591, RFC 7592)
    REGISTRATION_CREDENTIAL_MISSING = "registration_credential_missing"
    REGISTRATION_TOKEN_INVALID = "registration_token_invalid"  # noqa: S105 # a reason code
    REGISTRATION_LIMIT_REACHED = "registration_limit_reached"
    CLIENT_METADATA_INVALID = "client_metadata_invalid"
    SOFTWARE_STATEMENT_INVALID = "software_statement_invalid"
    SOFTWARE_STATEMENT_UNAPPROVED = "software_statement_unapproved"

    # The administration
    TARGET_UNKNOWN = "target_unknown"
    TARGET_CONFLICT = "target_conflict"
    TARGET_CHANGED = "target_changed"

    # The server
    INTERNAL_ERROR = "internal_error"
    TEMPORARILY_UNAVAILABLE = "temporarily_unavailable"
