"""The secrets of second factors, which allauth keeps in JSON: sealed to the person whose they are.

allauth seals a secret before it says whose it is, and opens it without saying so either. So it is sealed provisionally
first and, when its row is written, to the row's user; to be opened, the row that holds it is looked up.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, Final

from allauth.mfa.models import Authenticator
from django.db.models import Q

from devflow.apps.sealed import vault
from devflow.core.crypto import SealError

KEYS: Final = ["secret", "seed", "migrated_codes"]
"""Where in the JSON of a second factor secrets are."""
_NEW: Final = b"mfa_authenticator:data:new"


def seal(text: str) -> str:
    """For a row that is not written yet; base64."""
    return b64encode(vault().seal(text.encode(), _NEW)).decode()


def open_sealed(sealed: str) -> str:
    """Raises SealError where it is not in exactly one row, or was sealed to somebody else."""
    held = Q(data__secret=sealed) | Q(data__seed=sealed) | Q(data__migrated_codes__contains=[sealed])
    owners = list(Authenticator.objects.filter(held).values_list("user_id", flat=True)[:2])
    if len(owners) != 1:
        raise SealError("A second factor's secret is not where it was put.")
    return vault().open(b64decode(sealed), _context(owners[0])).decode()


def sealed_anew(data: dict[str, Any], user_id: Any) -> dict[str, Any]:
    """The JSON with everything sealed with the first master key. Raises SealError."""
    return _replaced(data, lambda sealed: _seal(vault().open(b64decode(sealed), _context(user_id)), user_id))


def is_current(data: dict[str, Any]) -> bool:
    """Whether the first master key sealed all of it."""
    return all(b64decode(sealed).startswith(vault().head) for sealed in _secrets(data))


def seal_before_saving(*, instance: Authenticator) -> None:
    """Before a second factor is saved: what was sealed provisionally is sealed to its user."""
    instance.data = _replaced(instance.data, lambda sealed: _moved(sealed, instance.user_id))


def _context(user_id: Any) -> bytes:
    return f"mfa_authenticator:data:{user_id}".encode()


def _seal(value: bytes, user_id: Any) -> str:
    return b64encode(vault().seal(value, _context(user_id))).decode()


def _moved(sealed: str, user_id: Any) -> str:
    try:
        return _seal(vault().open(b64decode(sealed), _NEW), user_id)
    except SealError:
        return sealed  # it is sealed to somebody already: opening tells whether to this one


def _secrets(data: dict[str, Any]) -> list[str]:
    found = [data[key] for key in KEYS if data.get(key)]
    return [each for value in found for each in (value if isinstance(value, list) else [value])]


def _replaced(data: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    return data | {
        key: [change(each) for each in data[key]] if isinstance(data[key], list) else change(data[key])
        for key in KEYS
        if data.get(key)
    }
