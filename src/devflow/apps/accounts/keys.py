"""The master key and its rotation: everything that an older key sealed is sealed anew, while the panel runs."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from allauth.mfa.models import Authenticator
from django.apps import apps
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection, models, transaction
from django.db.models import F, Func, Value

from devflow.apps.accounts import factor_secrets
from devflow.apps.accounts.models import PanelKey
from devflow.apps.accounts.session_store import session_context
from devflow.apps.sealed import Sealed, master_key_digests, vault
from devflow.core.crypto import MasterKeyError, SealError, new_master_key, replace_key_file
from devflow.core.errors import ConflictError, InvalidError

BATCH: Final = 200
WAIT_SECONDS: Final = 60.0
"""How long is waited for transactions that may have sealed something before the key was changed."""
_LOCK: Final = 0x6B657973
_SHOWN: Final = 5
_LOOKS: Final = 50

Progress = Callable[[str, int, int], None]
"""Called with a column (`table.column`), how many of its values are done, and how many there are to do."""


def master_key_check() -> None:
    """Remembers the master key at first, and a new one when it comes.

    Raises MasterKeyError when a key is not there that secrets of this database are still sealed with.
    """
    digests = master_key_digests()
    with transaction.atomic():
        PanelKey.objects.get_or_create(pk=1, defaults={"digest": digests[0]})
        known = PanelKey.objects.select_for_update().get(pk=1)
        _require(known, digests)
        _remember(known, digests[0])


def master_key_compare() -> None:
    """As `master_key_check`, and changes nothing; a database that has no key yet takes every one.

    Raises MasterKeyError, and Django's errors where the database does not answer.
    """
    known = PanelKey.objects.filter(pk=1).first()
    if known is not None:
        _require(known, master_key_digests())


def _require(known: PanelKey, digests: list[str]) -> None:
    if known.digest not in digests:
        raise MasterKeyError(
            f"The master key {settings.MASTER_KEYS.where} is not the one that this database's secrets are sealed "
            "with. Put the right one back from your backup, or set DEVFLOW_KEY_FILE."
        )
    if not set(known.older) <= set(digests):
        raise MasterKeyError(
            f"An older master key is missing {settings.MASTER_KEYS.where}: some secrets are still sealed with it. "
            "Give it after the new one, and run `devflow admin rotate-keys` to its end."
        )


def _remember(known: PanelKey, digest: str) -> None:
    """From now on `digest` seals; what sealed before it may have left values behind."""
    if known.digest == digest:
        return
    known.older = [found for found in (*known.older, known.digest) if found != digest]
    known.digest = digest
    known.save(update_fields=["digest", "older"])


def keys_rotate(*, progress: Progress) -> str:
    """Makes a new master key (in a key file; otherwise it must have been given) and seals everything anew with it.

    May be killed at any moment and started again: it goes on where it was. No value is ever unreadable, since the old
    key stays. Returns what to do next. Raises ConflictError, InvalidError, MasterKeyError, SealError.
    """
    with _alone():
        master_key_check() if settings.MASTER_KEYS.file else _require_started()
        if not PanelKey.objects.get(pk=1).older:
            _add_key()
            master_key_check()
        _seal_all(progress)
        PanelKey.objects.filter(pk=1).update(older=[])
    if settings.MASTER_KEYS.file is None:
        return (
            f"Nothing is sealed with an older key any more. Take the older one out {_of(settings.MASTER_KEYS.where)}, "
            "and restart the panel. Backups of the database from before need it: keep it with them."
        )
    return (
        f"Nothing is sealed with an older key any more. Back up {settings.MASTER_KEYS.where} now. The old key is still "
        "in it, so that nobody is logged out and older backups can be read; take it out with: "
        "devflow admin rotate-keys --finish"
    )


def keys_finish(*, progress: Progress) -> str:
    """Takes the older keys out of the key file, after a look whether anything is sealed with them."""
    keys = settings.MASTER_KEYS
    with _alone():
        master_key_check()
        if PanelKey.objects.get(pk=1).older:
            raise ConflictError("A rotation has not come to its end: run `devflow admin rotate-keys` first.")
        _seal_all(progress)
        if keys.file is None:
            return f"Nothing is sealed with an older key. Take it out {_of(keys.where)}, and restart the panel."
        if len(keys.now()) > 1:
            replace_key_file(keys.file, keys.now()[:1])
    return (
        f"{keys.where} holds the new key only. Restart the panel when it suits: then links in mails from before stop "
        "working, and who has logged in before has to do it again, unless the panel was restarted since the rotation."
    )


def _of(where: str) -> str:
    return where.replace("in ", "of ", 1) if where.startswith("in ") else where


def _require_started() -> None:
    """Of keys that are given from outside, the panel must have the new one before anything is sealed with it."""
    digests = master_key_digests()
    known = PanelKey.objects.filter(pk=1).first()
    if known and known.digest != digests[0] and known.digest in digests:
        raise InvalidError(
            "The panel does not know the new key yet. Restart `devflow up` with it, then run this again."
        )
    master_key_check()


def _add_key() -> None:
    keys = settings.MASTER_KEYS
    if keys.file is None:
        raise InvalidError(
            f"The master key is given {keys.where}, so the new one is yours to make: openssl rand -base64 32\n"
            "Give both, the new one first and the old one after a blank, restart the panel, and run this again. With "
            "panels on several machines: first the old one before the new one everywhere, then the new one first."
        )
    replace_key_file(keys.file, (new_master_key(), *keys.now()))


@contextmanager
def _alone() -> Iterator[None]:
    """Only one rotation at a time. The lock ends with the connection, so also when this process is killed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            raise ConflictError("The keys are being rotated already, by another process.")
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def _seal_all(progress: Progress) -> None:
    """Seals with the first key whatever another one sealed; returns when there is nothing of that left.

    The panel learns of a new key when it next looks at the key file, which it does before it seals or opens anything.
    What it was about to store then is still sealed with the old one: hence the wait, and one more look after it.
    """
    columns = sealed_columns()
    for column in columns:
        column.seal_anew(progress)
    _wait_for_older_transactions()
    for _ in range(_LOOKS):
        unreadable = [value for column in columns for value in column.seal_anew(progress)]
        left = [column.label for column in columns if column.count_left()]
        if not left:
            return
        if unreadable:
            more = f" and {len(unreadable) - _SHOWN} more" if len(unreadable) > _SHOWN else ""
            raise SealError(
                f"These values cannot be opened with any of the keys: {', '.join(unreadable[:_SHOWN])}{more}. "
                "Everything else is sealed with the new key. Keep the old one. Set these anew, or remove them; then "
                "run this again."
            )
        time.sleep(0.2)
    raise ConflictError(
        f"Values in {', '.join(left)} are being written all the time. Run this again, in a quieter hour."
    )


def _wait_for_older_transactions() -> None:
    """Waits until every transaction has ended that is open now; PostgreSQL's own, as autovacuum, store nothing."""
    deadline = time.monotonic() + WAIT_SECONDS
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now = cursor.fetchone()[0]
        while True:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND backend_type = 'client backend' AND state <> 'idle' AND xact_start < %s",
                [now],
            )
            open_ones = [str(row[0]) for row in cursor.fetchall()]
            if not open_ones:
                return
            if time.monotonic() > deadline:
                raise ConflictError(
                    f"Transactions of the database have been open for more than {WAIT_SECONDS:g} s (processes "
                    f"{', '.join(open_ones)}): they may still store what the old key sealed. Run this again when they "
                    "have ended."
                )
            time.sleep(0.05)


# --- where sealed values are ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SealedColumn(ABC):
    """A column of the database with sealed values."""

    model: type[models.Model]
    column: str

    @property
    def label(self) -> str:
        return f"{self.model._meta.db_table}.{self.column}"

    @abstractmethod
    def count_left(self) -> int:
        """How many rows hold something that the first key did not seal."""

    @abstractmethod
    def left(self) -> models.QuerySet[Any]:
        """Rows that may hold something that the first key did not seal."""

    @abstractmethod
    def sealed_anew(self, pk: Any, value: Any) -> Any:
        """The value, sealed with the first key. Raises SealError."""

    def seal_anew(self, progress: Progress) -> list[str]:
        """Goes through the column once, in batches; returns which values cannot be opened.

        Rows that the panel is writing are passed over instead of waited for: nothing waits for us in turn, and what it
        writes is never overwritten by what we have read before.
        """
        total, done, last, unreadable = self.left().count(), 0, None, []
        progress(self.label, 0, total)
        while True:
            with transaction.atomic():
                rows = self._batch(last)
                for pk, value in rows:
                    try:
                        self.model._base_manager.filter(pk=pk).update(**{self.column: self.sealed_anew(pk, value)})
                    except SealError:
                        unreadable.append(f"{self.label} of {pk}")
            if not rows:
                return unreadable
            last, done = rows[-1][0], done + len(rows)
            progress(self.label, done, max(done, total))

    def _batch(self, last: Any) -> list[tuple[Any, Any]]:
        found = self.left().order_by("pk")
        found = found if last is None else found.filter(pk__gt=last)
        return list(found.select_for_update(skip_locked=True, no_key=True).values_list("pk", self.column)[:BATCH])


@dataclass(frozen=True)
class AttributeColumn(SealedColumn):
    """The column of a `Sealed` attribute."""

    attribute: Sealed

    def left(self) -> models.QuerySet[Any]:
        head = Func(
            F(self.column),
            Value(1),
            Value(len(vault().head)),
            function="substring",
            output_field=models.BinaryField(),
        )
        everything: models.QuerySet[Any] = self.model._base_manager.all()
        filled = everything.exclude(**{self.column: b""}).annotate(sealed_head=head)
        left: models.QuerySet[Any] = filled.exclude(sealed_head=vault().head)
        return left

    def count_left(self) -> int:
        return self.left().count()

    def sealed_anew(self, pk: Any, value: Any) -> bytes:
        context = self.attribute.context(self.model, pk)
        return vault().seal(vault().open(bytes(value), context), context)


@dataclass(frozen=True)
class SecondFactorColumn(SealedColumn):
    """What allauth keeps of second factors, in JSON: some of it is sealed, in base64."""

    def left(self) -> models.QuerySet[Any]:
        return self.model._base_manager.filter(data__has_any_keys=factor_secrets.KEYS)

    def count_left(self) -> int:
        return sum(not factor_secrets.is_current(data) for data in self.left().values_list("data", flat=True))

    def sealed_anew(self, pk: Any, value: Any) -> Any:
        user_id = Authenticator.objects.values_list("user_id", flat=True).get(pk=pk)
        return factor_secrets.sealed_anew(value, user_id)


@dataclass(frozen=True)
class SessionColumn(SealedColumn):
    """The data of log-in sessions, in base64. What is not sealed is from an older version, and opens nothing."""

    def left(self) -> models.QuerySet[Any]:
        found = self.model._base_manager.filter(session_data__startswith="A")  # what is sealed begins so; no JSON does
        return found.exclude(session_data__startswith=b64encode(vault().head).decode())  # 9 bytes, so 12 characters

    def count_left(self) -> int:
        return self.left().count()

    def sealed_anew(self, pk: Any, value: Any) -> str:
        return b64encode(
            vault().seal(vault().open(b64decode(value), session_context(pk)), session_context(pk))
        ).decode()


def sealed_columns() -> list[SealedColumn]:
    """All of them, found by walking the models: who adds a `Sealed` attribute needs to do nothing here."""
    found: list[SealedColumn] = [
        AttributeColumn(model, attribute.column, attribute)
        for model in apps.get_models()
        for attribute in vars(model).values()
        if isinstance(attribute, Sealed)
    ]
    return [*found, SecondFactorColumn(Authenticator, "data"), SessionColumn(Session, "session_data")]
