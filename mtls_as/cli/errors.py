"""What a person reads instead of a traceback: the one place that knows which exceptions are foreseeable."""


def explain(error: Exception) -> str | None:
    """The line (or lines, for a configuration with several problems) for a foreseeable error, else None."""
    if isinstance(error, _foreseeable()):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}"
    return None


def _foreseeable() -> tuple[type[Exception], ...]:
    """Imported only now: a command that does its work needs none of this."""
    from mtls_as.cli.development_pki import DevelopmentPKIError
    from mtls_as.cli.exec_credential import ExecCredentialError
    from mtls_as.cli.files import FileError
    from mtls_as.cli.remote import RemoteError
    from mtls_as.client import ClientError
    from mtls_as.config import ConfigurationError
    from mtls_as.pki.trust_domains import TrustConfigurationError
    from mtls_as.remote.documents import DocumentUnavailable
    from mtls_as.rfc.rfc5280_certificate import CertificateError
    from mtls_as.rfc.rfc7517_jwk import JWKError
    from mtls_as.rfc.rfc7591_client_metadata import ClientMetadataError
    from mtls_as.server.endpoints.admin.call import AdministrationError
    from mtls_as.server.ports import SignerUnavailable, StorageUnavailable
    from mtls_as.server.signing_keys import NoSigningKey
    from mtls_as.signers.settings import SignerConfigurationError
    from mtls_as.storage import StorageError
    from mtls_as.tls import TLSConfigurationError
    from mtls_as.verifier import VerificationUnavailable

    return (
        AdministrationError,
        CertificateError,
        ClientError,
        ClientMetadataError,
        ConfigurationError,
        DevelopmentPKIError,
        DocumentUnavailable,
        ExecCredentialError,
        FileError,
        JWKError,
        NoSigningKey,
        RemoteError,
        SignerConfigurationError,
        SignerUnavailable,
        StorageError,
        StorageUnavailable,
        TLSConfigurationError,
        TrustConfigurationError,
        VerificationUnavailable,
    )
