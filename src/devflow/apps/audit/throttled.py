"""Attempts to log in that were refused because there were too many: the first in a window is recorded, then the tenth,
the hundredth and so on, each with how many it were. So a flood of them makes no flood of events."""

from __future__ import annotations

from typing import Any, Final

from devflow.apps.accounts.limits import address_key
from devflow.apps.accounts.logins import refusal_count
from devflow.apps.accounts.models import User
from devflow.apps.audit import services

ACTION: Final = "login.throttled"


def account_record(*, email: str) -> None:
    """As an account, known or not: in the panel's log at first, and a worker tells the account's teams (jobs.look)."""
    _record(f"account {email}", user=None, target=services.typed_address(email))


def address_record(*, address: str) -> None:
    """From one address, whichever accounts were meant."""
    _record(f"address {address_key(address)}", user=None, target="any account")


def person_record(*, user: User, what: str) -> None:
    """By somebody whose password was right, or who is logged in: codes, or the password once more."""
    _record(f"{what} {user.pk}", user=user, target=user.email, what=what)


def _record(of: str, *, user: User | None, target: str, **more: Any) -> None:
    times = refusal_count(of=of)
    if str(times).strip("0") != "1":
        return
    told: dict[str, Any] = {"action": ACTION, "target": target, "after": {"times": times, **more}, "outcome": "refused"}
    if user is None:
        services.audit_record(team=None, who="somebody", **told)
    else:
        services.person_record(team=None, user=user, target_id=str(user.pk), **told)
