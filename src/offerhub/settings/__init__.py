"""The configuration: every environment variable once, typed, bounded and documented. Nothing else reads one.

The names are those of contract.md 9, so that an existing deployment's variables work unchanged.
"""

from offerhub.settings.catalogue import VariableDoc, describe, render_reference
from offerhub.settings.load import derive_key, load
from offerhub.settings.model import (
    Airtm,
    Client,
    Events,
    Jobs,
    Keys,
    Payments,
    Providers,
    Server,
    Settings,
    Stellar,
    Storage,
    Traces,
    TrustlessWork,
    WebhooksOut,
)
from offerhub.settings.sources import read_env_file, with_development_key
from offerhub.settings.variable import Secret, SettingsError

__all__ = [
    "Airtm",
    "Client",
    "Events",
    "Jobs",
    "Keys",
    "Payments",
    "Providers",
    "Secret",
    "Server",
    "Settings",
    "SettingsError",
    "Stellar",
    "Storage",
    "Traces",
    "TrustlessWork",
    "VariableDoc",
    "WebhooksOut",
    "derive_key",
    "describe",
    "load",
    "read_env_file",
    "render_reference",
    "with_development_key",
]
