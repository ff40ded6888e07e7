"""Model attributes that are encrypted at rest."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings
from django.db import models

from devflow.core.crypto import Vault, derive_key


@cache
def vault() -> Vault:
    """The vault of this panel's master key (setting MASTER_KEY, 32 bytes)."""
    return Vault(settings.MASTER_KEY)


def master_key_digest() -> str:
    """Recognises this panel's master key, and tells nothing about it (a key derived for this alone, in hexadecimal)."""
    return derive_key(settings.MASTER_KEY, b"devflow-key-check-v1").hex()


class Sealed:
    """A text attribute kept sealed in the binary column `<name>_sealed`; the row and column are its associated data.

    The model must give its primary key by default, so that it is known before the first save.
    """

    def __set_name__(self, owner: type[models.Model], name: str) -> None:
        self._name = name

    def __get__(self, instance: models.Model | None, owner: type[models.Model]) -> Any:
        if instance is None:
            return self
        sealed = getattr(instance, f"{self._name}_sealed")
        return vault().open(bytes(sealed), self._context(instance)).decode() if sealed else ""

    def __set__(self, instance: models.Model, value: str) -> None:
        sealed = vault().seal(value.encode(), self._context(instance)) if value else b""
        setattr(instance, f"{self._name}_sealed", sealed)

    def _context(self, instance: models.Model) -> bytes:
        return f"{instance._meta.db_table}:{self._name}:{instance.pk}".encode()
