"""Records what Django and allauth do by themselves: logging in and out, passwords, second factors."""

from __future__ import annotations

from typing import Any, Final

from allauth.account import signals as account
from allauth.mfa import signals as mfa
from django.contrib.auth import signals as auth
from django.http import HttpRequest

from devflow.apps.accounts.models import User
from devflow.apps.audit import context
from devflow.apps.audit.devices import device_seen
from devflow.apps.audit.services import audit_record, person_record, typed_address

_ID: Final = "devflow-audit"


def connect() -> None:
    """Called once, when Django starts."""
    auth.user_logged_in.connect(_logged_in, dispatch_uid=_ID)
    auth.user_logged_out.connect(_logged_out, dispatch_uid=_ID)
    auth.user_login_failed.connect(_login_failed, dispatch_uid=_ID)
    account.password_changed.connect(_password_changed, dispatch_uid=_ID)
    account.password_reset.connect(_password_changed, dispatch_uid=_ID)
    mfa.authenticator_added.connect(_factor_added, dispatch_uid=_ID)
    mfa.authenticator_removed.connect(_factor_removed, dispatch_uid=_ID)


def _logged_in(*, user: User, request: HttpRequest | None = None, **_: Any) -> None:
    here = context.current()
    family, is_new = device_seen(user=user, user_agent=here.user_agent, address=here.address)
    _record(user, "login.succeeded", after={"device": family, "is_new_device": is_new})


def _logged_out(*, user: User | None, **_: Any) -> None:
    if user is not None and user.pk:  # else the account was deleted just now
        _record(user, "logout")


def _login_failed(*, credentials: dict[str, Any], **_: Any) -> None:
    """In the panel's log at first, whether there is such an account or not, so that the answer's time does not tell; a
    worker then puts it into the logs of the account's teams (jobs.look)."""
    typed = str(credentials.get("email") or credentials.get("username") or "")
    audit_record(team=None, who="somebody", action="login.failed", target=typed_address(typed), outcome="failed")


def _factor_added(*, user: User, authenticator: Any, **_: Any) -> None:
    _record(user, "mfa.enabled", after={"kind": authenticator.type})


def _factor_removed(*, user: User, authenticator: Any, **_: Any) -> None:
    _record(user, "mfa.disabled", before={"kind": authenticator.type})


def _password_changed(*, user: User, **_: Any) -> None:
    _record(user, "password.changed")


def _record(user: User, action: str, **more: Any) -> None:
    person_record(team=None, user=user, action=action, target=user.email, target_id=str(user.pk), **more)
