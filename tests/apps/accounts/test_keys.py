"""Rotation of the master key: what is sealed anew, what is refused, and what it says."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_django
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.apps import apps
from django.db import connection, models
from django_scopes import scopes_disabled

from devflow.apps.accounts import factor_secrets, keys
from devflow.apps.accounts.models import IdempotencyKey, PanelKey, Role
from devflow.apps.accounts.session_store import SessionStore
from devflow.apps.projects.models import Variable, VariableChange
from devflow.apps.sealed import vault
from devflow.core.crypto import MasterKeyError, SealError, Vault, make_key_file, read_key_file, replace_key_file
from devflow.core.errors import ConflictError, InvalidError
from devflow.settings.env import load_config
from devflow.settings.keys import MasterKeys
from tests.support.shop import Shop

OTHER_KEY = bytes(range(32))


@pytest.fixture
def key_file(tmp_path: Path, settings: pytest_django.fixtures.SettingsWrapper) -> Path:
    """The key file of this test alone."""
    path = tmp_path / "master.key"
    make_key_file(path)
    settings.MASTER_KEYS = MasterKeys(load_config({"DEVFLOW_KEY_FILE": str(path)}))
    return path


@pytest.fixture
def given_keys(settings: pytest_django.fixtures.SettingsWrapper) -> Callable[..., None]:
    """The panel with these keys in its environment."""

    def give(*masters: bytes) -> None:
        text = " ".join(master.hex() for master in masters)
        settings.MASTER_KEYS = MasterKeys(load_config({"DEVFLOW_MASTER_KEY": text}))

    return give


def rotate(finish: bool = False) -> tuple[str, list[tuple[str, int, int]]]:
    """What it says at its end, and the progress on the way."""
    seen: list[tuple[str, int, int]] = []

    def progress(column: str, done: int, total: int) -> None:
        seen.append((column, done, total))

    return (keys.keys_finish if finish else keys.keys_rotate)(progress=progress), seen


def variables(shop: Shop, count: int) -> dict[str, str]:
    """Makes variables; their values by key."""
    values = {f"KEY_{number}": f"value {number}" for number in range(count)}
    with scopes_disabled():
        for key, value in values.items():
            variable = Variable(team=shop.team, project=shop.project, key=key)
            variable.value = value
            variable.save()
    return values


def stored() -> dict[str, str]:
    with scopes_disabled():
        return {each.key: each.value for each in Variable.objects.filter(key__startswith="KEY_")}


def heads() -> set[bytes]:
    """What the sealed values of variables begin with."""
    with scopes_disabled():
        return {bytes(value)[:9] for value in Variable.objects.values_list("value_sealed", flat=True)}


# --- the check at a start ---------------------------------------------------------------------------------------------


def test_another_master_key_is_noticed(db: None, given_keys: Callable[..., None]) -> None:
    given_keys(OTHER_KEY)
    keys.master_key_check()
    keys.master_key_check()
    given_keys(bytes(32))
    with pytest.raises(MasterKeyError, match="Put the right one back"):
        keys.master_key_check()


def test_no_key_may_be_missing_while_it_is_needed(db: None, given_keys: Callable[..., None]) -> None:
    newer = bytes(32)
    given_keys(OTHER_KEY)
    keys.master_key_check()
    given_keys(newer, OTHER_KEY)
    keys.master_key_check()  # from here on the newer one seals
    given_keys(newer)
    with pytest.raises(MasterKeyError, match="An older master key is missing in DEVFLOW_MASTER_KEY"):
        keys.master_key_check()
    given_keys(OTHER_KEY)
    with pytest.raises(MasterKeyError, match="is not the one"):
        keys.master_key_check()


def test_another_key_under_a_running_panel_loses_nothing(key_file: Path, shop: Shop) -> None:
    keys.master_key_check()
    (right,) = read_key_file(key_file)
    replace_key_file(key_file, (OTHER_KEY,))
    values = variables(shop, 2)
    assert (heads(), stored()) == ({Vault(right).head}, values)
    replace_key_file(key_file, (right,))
    assert stored() == values


def test_who_has_slept_through_a_rotation_takes_its_key_up(
    key_file: Path, shop: Shop, settings: pytest_django.fixtures.SettingsWrapper
) -> None:
    keys.master_key_check()
    values = variables(shop, 1)
    asleep = settings.MASTER_KEYS
    settings.MASTER_KEYS = MasterKeys(load_config({"DEVFLOW_KEY_FILE": str(key_file)}))
    rotate()
    rotate(finish=True)
    settings.MASTER_KEYS = asleep
    assert stored() == values
    assert vault().head == Vault(*read_key_file(key_file)).head


# --- rotation with a key file -----------------------------------------------------------------------------------------


def test_all_is_sealed_with_the_new_key(key_file: Path, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "BATCH", 7)
    keys.master_key_check()
    (old,) = read_key_file(key_file)
    values = variables(shop, 30)
    said, progress = rotate()
    new, kept = read_key_file(key_file)
    assert (kept, heads(), stored()) == (old, {Vault(new).head}, values)
    assert "--finish" in said
    assert str(key_file) in said
    assert [done for column, done, _ in progress if column == "projects_variable.value_sealed"][:6] == [
        0,
        7,
        14,
        21,
        28,
        30,
    ]
    said, _ = rotate(finish=True)
    assert read_key_file(key_file) == (new,)
    assert "logged in" in said
    assert stored() == values


def test_each_rotation_makes_a_key_of_its_own(key_file: Path, shop: Shop) -> None:
    values = variables(shop, 3)
    rotate()
    rotate()
    newest, middle, oldest = read_key_file(key_file)
    assert len({newest, middle, oldest}) == 3
    assert (heads(), stored()) == ({Vault(newest).head}, values)


def test_what_version_1_sealed_gets_a_key_id(key_file: Path, shop: Shop) -> None:
    variables(shop, 1)
    with scopes_disabled():
        variable = Variable.objects.get(key="KEY_0")
        context = f"projects_variable:value:{variable.pk}".encode()
        sealed = vault().seal(b"from before", context)
        variable.value_sealed = b"\x01" + sealed[9:]
        variable.save()
    assert stored() == {"KEY_0": "from before"}
    rotate()
    assert stored() == {"KEY_0": "from before"}
    assert heads() == {vault().head}


def test_every_sealed_attribute_is_found() -> None:
    """Every binary column is a sealed one that is found, or is told here why it is none."""
    binary = {
        (model, field.name)
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if isinstance(field, models.BinaryField)
    }
    plain = {"sources_delivery.body"}  # what a provider sent, deflated
    found = {(column.model, column.column) for column in keys.sealed_columns()}
    missing = {f"{model._meta.db_table}.{name}" for model, name in binary - found} - plain
    assert not missing
    assert {name for _, name in found if not name.endswith("_sealed")} == {"data", "session_data"}


def test_every_kind_of_sealed_value_is_rotated(key_file: Path, shop: Shop) -> None:
    keys.master_key_check()
    with scopes_disabled():
        for column in keys.sealed_columns():
            if isinstance(column, keys.AttributeColumn):
                for number, row in enumerate(column.model._base_manager.all()):
                    setattr(row, column.attribute.name, f"{column.label} {number}")
                    row.save()
        answer = IdempotencyKey(team=shop.team, subject="s", key="k", request="r")
        answer.answer = "an answer"
        answer.save()
    user = shop.people[Role.OWNER]
    TOTP.activate(user, "JBSWY3DPEHPK3PXP")
    codes = RecoveryCodes.activate(user)
    before = codes.get_unused_codes()
    session = SessionStore()
    session["word"] = "kept"
    session.save()
    old = vault().head
    rotate()
    assert vault().head != old
    assert not carried(old)
    rotate(finish=True)  # from here on the old key is gone
    with scopes_disabled():
        for column in keys.sealed_columns():
            if isinstance(column, keys.AttributeColumn) and column.model is not IdempotencyKey:
                for number, row in enumerate(column.model._base_manager.all()):
                    assert getattr(row, column.attribute.name) == f"{column.label} {number}"
        assert IdempotencyKey.objects.get(key="k").answer == "an answer"
    factors = {each.type: each.wrap() for each in Authenticator.objects.filter(user=user)}
    assert factors["recovery_codes"].get_unused_codes() == before
    assert factors["totp"].validate_code is not None
    assert SessionStore(session.session_key)["word"] == "kept"


def carried(head: bytes) -> list[str]:
    """Where something still begins with this head, as the database has it."""
    found = []
    with connection.cursor() as cursor:
        for column in keys.sealed_columns():
            cursor.execute(f'SELECT "{column.column}"::text FROM "{column.model._meta.db_table}"')
            texts = [row[0] for row in cursor.fetchall()]
            forms = (head.hex(), b64encode(head).decode())
            found += [column.label for text in texts if any(form in text for form in forms)]
    return found


def test_the_secrets_of_second_factors_are_sealed(key_file: Path, shop: Shop) -> None:
    user = shop.people[Role.OWNER]
    TOTP.activate(user, "JBSWY3DPEHPK3PXP")
    data = Authenticator.objects.get(user=user).data
    assert "JBSWY3DPEHPK3PXP" not in str(data)
    assert b64decode(data["secret"]).startswith(vault().head)


def test_a_second_factor_given_to_somebody_else_opens_nothing(key_file: Path, shop: Shop) -> None:
    mine, theirs = shop.people[Role.VIEWER], shop.people[Role.OWNER]
    TOTP.activate(mine, "JBSWY3DPEHPK3PXP")
    TOTP.activate(theirs, "KRSXG5CTMVRXEZLU")
    own, other = (Authenticator.objects.get(user=user) for user in (mine, theirs))
    assert factor_secrets.open_sealed(own.data["secret"]) == "JBSWY3DPEHPK3PXP"

    Authenticator.objects.filter(pk=other.pk).update(data=own.data)  # copied over theirs
    with pytest.raises(SealError):
        factor_secrets.open_sealed(own.data["secret"])
    own.delete()  # and moved
    with pytest.raises(SealError):
        factor_secrets.open_sealed(own.data["secret"])


# --- a value in another place -----------------------------------------------------------------------------------------


def test_a_value_that_was_moved_is_refused(key_file: Path, shop: Shop) -> None:
    variables(shop, 2)
    with scopes_disabled():
        first, second = Variable.objects.filter(key__startswith="KEY_").order_by("key")
        second.value_sealed = first.value_sealed
        second.save()
        with pytest.raises(SealError):
            _ = Variable.objects.get(pk=second.pk).value  # another row
        change = VariableChange(pk=first.pk, team=shop.team, project=shop.project, key="KEY_0")
        change.value_sealed = first.value_sealed
        with pytest.raises(SealError):
            _ = change.value  # another table, the same row and column
        shop.project.pk = first.pk
        shop.project.deploy_key_sealed = first.value_sealed
        with pytest.raises(SealError):
            _ = shop.project.deploy_key


def test_what_cannot_be_opened_is_told_and_the_old_key_kept(key_file: Path, shop: Shop) -> None:
    keys.master_key_check()
    values = variables(shop, 3)
    with scopes_disabled():
        damaged = Variable.objects.get(key="KEY_1")
        damaged.value_sealed = bytes(damaged.value_sealed)[:-1] + b"x"
        damaged.save()
    for _ in range(2):
        with pytest.raises(SealError, match=f"projects_variable.value_sealed of {damaged.pk}.*Keep the old one"):
            rotate()
    assert PanelKey.objects.get().older
    with pytest.raises(ConflictError, match="has not come to its end"):
        rotate(finish=True)
    assert len(read_key_file(key_file)) == 2
    with scopes_disabled():
        damaged.delete()
    rotate()
    assert len(read_key_file(key_file)) == 2  # the same new key: it went on
    del values["KEY_1"]
    assert stored() == values


# --- interrupted, at the same time ------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", range(0, 26, 2))
def test_an_interrupted_rotation_goes_on(
    key_file: Path, shop: Shop, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Interrupted at every step; at none is a value unreadable, and the next run ends with one new key."""
    monkeypatch.setattr(keys, "BATCH", 4)
    keys.master_key_check()
    values = variables(shop, 10)
    steps = 0

    def stop(column: str, done: int, total: int) -> None:
        nonlocal steps
        steps += 1
        if steps > after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keys.keys_rotate(progress=stop)
    assert stored() == values
    keys.master_key_check()
    rotate()
    assert (len(read_key_file(key_file)), heads(), stored()) == (2, {vault().head}, values)


def test_a_key_that_was_written_but_not_remembered_yet_is_used(key_file: Path, shop: Shop) -> None:
    keys.master_key_check()
    values = variables(shop, 2)
    replace_key_file(key_file, (OTHER_KEY, *read_key_file(key_file)))  # and killed
    rotate()
    assert read_key_file(key_file)[0] == OTHER_KEY
    assert (heads(), stored()) == ({Vault(OTHER_KEY).head}, values)


# --- keys that are given from outside ---------------------------------------------------------------------------------


def test_a_given_key_is_made_by_the_owner(
    shop: Shop, given_keys: Callable[..., None], settings: pytest_django.fixtures.SettingsWrapper
) -> None:
    new, old = bytes(32), settings.MASTER_KEYS.now()[0]
    given_keys(old)
    keys.master_key_check()
    values = variables(shop, 3)
    with pytest.raises(InvalidError, match=r"openssl rand -base64 32[\s\S]*the new one first"):
        rotate()
    given_keys(new, old)
    with pytest.raises(InvalidError, match="The panel does not know the new key yet"):
        rotate()
    assert heads() == {Vault(old).head}
    keys.master_key_check()  # as a start of the panel does
    said, _ = rotate()
    assert "DEVFLOW_MASTER_KEY" in said
    assert heads() == {Vault(new).head}
    given_keys(new)
    keys.master_key_check()
    assert stored() == values


def test_nobody_else_rotates_at_the_same_time(
    key_file: Path, shop: Shop, monkeypatch: pytest.MonkeyPatch, transactional_db: Any
) -> None:
    server = connection.settings_dict
    address = {"dbname": server["NAME"], "user": server["USER"], "host": server["HOST"], "port": server["PORT"] or None}
    with psycopg.connect(**address) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [keys._LOCK])
        with pytest.raises(ConflictError, match="already"):
            rotate()
    monkeypatch.setattr(keys, "WAIT_SECONDS", 0.3)
    with psycopg.connect(**address) as other:
        other.execute("SELECT 1")  # a transaction that is open, and may hold what it has sealed
        with pytest.raises(ConflictError, match="have been open for more than"):
            rotate()
    rotate()
