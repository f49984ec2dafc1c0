"""Settings of the server: what there is to set, and where it is read from."""

from inferd.core.settings.fields import Names, Versions, VersionsField, expectation
from inferd.core.settings.reading import ENV_PREFIX, FILE_NAME, SettingsError, read
from inferd.core.settings.settings import ModelOverride, Settings

__all__ = [
    "ENV_PREFIX",
    "FILE_NAME",
    "ModelOverride",
    "Names",
    "Settings",
    "SettingsError",
    "Versions",
    "VersionsField",
    "expectation",
    "read",
]
