"""Second factors of people: which one has, who must have one, and how a lost one is taken away."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from allauth.mfa.models import Authenticator
from django.db import transaction

from devflow.apps.accounts import events
from devflow.apps.accounts.models import Team, User
from devflow.apps.accounts.sessions import sessions_end
from devflow.core.errors import NotFoundError, SecondFactorError

_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


@dataclass(frozen=True, slots=True)
class Passkey:
    id: int
    name: str
    added_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Factors:
    """Times are None, and so is `codes_left`, for what is not set up (or was not used)."""

    passkeys: list[Passkey]
    app_since: datetime | None = None
    app_used: datetime | None = None
    codes_left: int | None = None
    codes_since: datetime | None = None
    codes_used: datetime | None = None

    @property
    def is_on(self) -> bool:
        return self.app_since is not None or bool(self.passkeys)


def factors_of(user: User) -> Factors:
    """What the person has set up."""
    passkeys: list[Passkey] = []
    single: dict[str, Any] = {}
    for each in Authenticator.objects.filter(user=user).order_by("created_at"):
        if each.type == Authenticator.Type.WEBAUTHN:
            passkeys.append(Passkey(each.pk, each.wrap().name, each.created_at, each.last_used_at))
        elif each.type == Authenticator.Type.TOTP:
            single |= {"app_since": each.created_at, "app_used": each.last_used_at}
        else:
            left = len(each.wrap().get_unused_codes())
            single |= {"codes_left": left, "codes_since": each.created_at, "codes_used": each.last_used_at}
    return Factors(passkeys, **single)


def has_second_factor(user: User) -> bool:
    return bool(Authenticator.objects.filter(user=user, type__in=_FACTORS).exists())


def with_second_factor(users: list[User]) -> set[object]:
    """The ids of those among the people who have one."""
    return set(Authenticator.objects.filter(user__in=users, type__in=_FACTORS).values_list("user_id", flat=True))


def require_second_factor(user: User, team: Team) -> None:
    """Raises SecondFactorError where the team wants a second factor of its people, and this one has none."""
    if team.requires_second_factor and not user.is_machine and not has_second_factor(user):
        raise SecondFactorError(
            f"{team} wants a second factor of all its people: set one up on the page Account, in a browser."
        )


def second_factors_remove(*, user: User) -> None:
    """Takes all second factors away from who has lost them, and ends the person's sessions. Raises NotFoundError.

    For the panel's administrator: from now on the password alone lets this person in.
    """
    with transaction.atomic():
        removed, _ = Authenticator.objects.filter(user=user).delete()
        if not removed:
            raise NotFoundError(f"{user.email} has no second factor.")
        sessions_end(user=user)
        events.record(team=None, action="mfa.disabled", who="administrator", target=user.email, target_id=str(user.pk))
