"""`config.toml`: read strictly, every problem reported with its place, resolved into frozen settings."""

from mtls_as.config.problems import ConfigurationError, Problem
from mtls_as.config.settings import (
    ListenerSettings,
    Settings,
    StorageSettings,
    TimeoutSettings,
    TLSSettings,
    TokenSettings,
    load_settings,
)

__all__ = [
    "ConfigurationError",
    "ListenerSettings",
    "Problem",
    "Settings",
    "StorageSettings",
    "TLSSettings",
    "TimeoutSettings",
    "TokenSettings",
    "load_settings",
]
