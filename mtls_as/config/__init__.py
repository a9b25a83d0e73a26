"""`config.toml`: read strictly, every problem reported with its place, resolved into frozen settings."""

from mtls_as.config.keys import KeySettings
from mtls_as.config.observability import AuditSettings, EventsSettings
from mtls_as.config.problems import ConfigurationError, Problem
from mtls_as.config.proxy_listener import ProxyListenerSettings
from mtls_as.config.settings import (
    ListenerSettings,
    ListenersSettings,
    ServerSettings,
    Settings,
    TLSSettings,
    TokenSettings,
    load_settings,
)
from mtls_as.config.storage import StorageSettings

__all__ = [
    "AuditSettings",
    "ConfigurationError",
    "EventsSettings",
    "KeySettings",
    "ListenerSettings",
    "ListenersSettings",
    "Problem",
    "ProxyListenerSettings",
    "ServerSettings",
    "Settings",
    "StorageSettings",
    "TLSSettings",
    "TokenSettings",
    "load_settings",
]
