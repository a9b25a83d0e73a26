"""Who holds signing keys that are not in the storage."""

from mtls_as.config import Settings
from mtls_as.server.ports import ExternalSigners
from mtls_as.signers.settings import SignerConfigurationError


def open_external_signers(settings: Settings) -> ExternalSigners | None:
    """Who holds the keys of this configuration, if it is not this process. Raises `SignerConfigurationError`."""
    pkcs11 = settings.keys.pkcs11
    if pkcs11 is None:
        return None
    try:
        from mtls_as.signers.pkcs11 import Pkcs11Signers
    except ModuleNotFoundError:
        raise SignerConfigurationError("keys.pkcs11: needs python-pkcs11: pip install 'mtls-as[pkcs11]'") from None
    return Pkcs11Signers.of(pkcs11)
