"""Model attributes that are encrypted at rest."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import SynchronousOnlyOperation
from django.db import Error, models

from devflow.core.crypto import Vault, derive_key


def master_keys() -> tuple[bytes, ...]:
    """This panel's master keys (setting MASTER_KEYS), as they are at this moment."""
    keys: tuple[bytes, ...] = settings.MASTER_KEYS.now(_are_of_database)
    return keys


def vault() -> Vault:
    """The vault of the `master_keys`."""
    return _vault(master_keys())


@lru_cache(maxsize=4)
def _vault(masters: tuple[bytes, ...]) -> Vault:
    return Vault(*masters)


def master_key_digests() -> list[str]:
    """Recognise this panel's master keys, the one that seals first, and tell nothing about them (keys derived for this
    alone, in hexadecimal)."""
    return _digests(master_keys())


def _digests(masters: Sequence[bytes]) -> list[str]:
    return [derive_key(master, b"devflow-key-check-v1").hex() for master in masters]


def _are_of_database(masters: Sequence[bytes]) -> bool:
    """Whether these are all the keys that secrets of the database are sealed with; no where it cannot be asked."""
    try:
        known = apps.get_model("accounts", "PanelKey")._base_manager.using("default").filter(pk=1).first()
    except (Error, SynchronousOnlyOperation):
        return False
    return known is not None and {known.digest, *known.older} <= set(_digests(masters))


class Sealed:
    """A text attribute kept sealed in the binary column `<name>_sealed`; table, column and row are its associated data.

    The model must give its primary key by default, so that it is known before the first save.
    """

    def __set_name__(self, owner: type[models.Model], name: str) -> None:
        self.name = name

    @property
    def column(self) -> str:
        """The name of the field that holds the sealed value."""
        return f"{self.name}_sealed"

    def __get__(self, instance: models.Model | None, owner: type[models.Model]) -> Any:
        if instance is None:
            return self
        sealed = getattr(instance, self.column)
        return vault().open(bytes(sealed), self.context(owner, instance.pk)).decode() if sealed else ""

    def __set__(self, instance: models.Model, value: str) -> None:
        sealed = vault().seal(value.encode(), self.context(type(instance), instance.pk)) if value else b""
        setattr(instance, self.column, sealed)

    def context(self, model: type[models.Model], pk: Any) -> bytes:
        """The associated data of the attribute in the row `pk`."""
        return f"{model._meta.db_table}:{self.name}:{pk}".encode()
