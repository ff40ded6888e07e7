"""Writes of people, teams and tokens."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import connection, transaction
from django.utils import timezone
from django.utils.text import slugify
from django_scopes import scope

from devflow.apps.accounts import rights
from devflow.apps.accounts.models import ApiToken, Membership, PanelKey, Role, Scope, SetupToken, Team, User
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.selectors import TOKEN_PREFIX, digest, setup_token_valid, user_exists, user_find
from devflow.apps.sealed import master_key_digest
from devflow.core import names
from devflow.core.errors import ConflictError, DevflowError, ForbiddenError, InvalidError, NotFoundError

_LONGEST_EXPIRY = timedelta(days=3653)  # ten years


def user_create(*, email: str, password: str | None, name: str = "", is_superuser: bool = False) -> User:
    """A new user; without a password they cannot log in by one. Raises InvalidError, ConflictError."""
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError:
        raise InvalidError(
            "This is not an e-mail address.", {"email": "Enter an e-mail address, like ada@example.com."}
        ) from None
    if user_find(email=email):
        raise ConflictError(f"There is a user {email} already.")
    user = User(email=email, name=name.strip(), is_superuser=is_superuser)
    if password is not None:
        _check_password(password, user)
    user.set_password(password)
    user.save()
    return user


def password_set(*, user: User, password: str) -> None:
    """A new password; it ends the user's sessions, each of which is bound to the password's hash. Raises InvalidError.

    API tokens stay.
    """
    _check_password(password, user)
    user.set_password(password)
    user.save(update_fields=["password"])


def master_key_check() -> None:
    """Remembers the master key at first, and from then on raises DevflowError when the panel has another one."""
    known, _ = PanelKey.objects.get_or_create(pk=1, defaults={"digest": master_key_digest()})
    if known.digest != master_key_digest():
        raise DevflowError(
            f"The master key {settings.PANEL_KEY_FILE} is not the one that this database's secrets are sealed with. "
            "Put the right file back from your backup, or set DEVFLOW_KEY_FILE."
        )


def team_create(*, name: str, owner: User) -> Team:
    """A new team with its first owner. Raises InvalidError."""
    name = names.single_line(name, "team")
    with transaction.atomic():
        team = Team.objects.create(name=name, slug=_free_slug(name))
        with scope(team=team):
            Membership.objects.create(team=team, user=owner, role=Role.OWNER)
    return team


def membership_add(*, team: Team, user: User, role: str) -> Membership:
    """The user joins the team. Raises InvalidError for no role, ConflictError for who is a member already."""
    if role not in Role.values:
        message = f"Choose a role: {', '.join(Role.values)}."
        raise InvalidError(message, {"role": message})
    with scope(team=team):
        membership, is_new = Membership.objects.get_or_create(team=team, user=user, defaults={"role": role})
    if not is_new:
        raise ConflictError(f"{user.email} is in the team {team.slug} already, as {membership.role}.")
    return membership


def setup_token_create() -> str | None:
    """A new one-time token for the set-up page, replacing older ones; None when there is a user already."""
    if user_exists():
        return None
    raw = secrets.token_urlsafe(24)
    with transaction.atomic():
        SetupToken.objects.all().delete()
        SetupToken.objects.create(digest=digest(raw))
    return raw


def setup_complete(*, token: str, email: str, password: str, team_name: str, name: str = "") -> User:
    """Makes the first user and team and uses the token up. Raises ForbiddenError, InvalidError."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('devflow-setup'))")
        if not setup_token_valid(raw=token):
            raise ForbiddenError(
                "This set-up link is not valid (any more). `devflow up` prints a new one while there is no user."
            )
        user = user_create(email=email, password=password, name=name, is_superuser=True)
        team_create(name=team_name, owner=user)
        SetupToken.objects.all().delete()
    return user


def token_create(
    *, actor: Actor, name: str, scopes: list[str], expires_at: datetime | None = None
) -> tuple[ApiToken, str]:
    """A token of the actor in their team, and its raw text, which is not kept. Raises InvalidError, ForbiddenError.

    A token never gives more than who makes it has; another token makes one only with the scope admin, so that an expiry
    is not outlived by a successor.
    """
    _require_token_rights(actor)
    name = names.single_line(name, "name")
    unknown = [value for value in scopes if value not in Scope.values]
    if not scopes or unknown:
        message = f"Choose one or more scopes of: {', '.join(Scope.values)}."
        raise InvalidError(message, {"scopes": message})
    if expires_at is not None:
        _check_expiry(expires_at)
    for value in scopes:
        for right in sorted(rights.SCOPE_RIGHTS[value]):
            actor.require(right)
    raw = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with scope(team=actor.team):
        token = ApiToken.objects.create(
            team=actor.team,
            user=actor.user,
            name=name,
            prefix=raw[:10],
            digest=digest(raw),
            scopes=sorted(set(scopes)),
            expires_at=expires_at,
        )
    return token, raw


def token_revoke(*, actor: Actor, token_id: str) -> None:
    """Revokes one's own token, or any of the team for who manages it. Raises NotFoundError, ForbiddenError."""
    _require_token_rights(actor)
    with scope(team=actor.team):
        token = ApiToken.objects.filter(pk=token_id, revoked_at=None).first()
        if token is None:
            raise NotFoundError("There is no such token.")
        if token.user_id != actor.user.pk:
            actor.require(rights.MANAGE)
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at"])


def _require_token_rights(actor: Actor) -> None:
    if actor.scopes is not None and Scope.ADMIN not in actor.scopes:
        raise ForbiddenError(
            "This token's scopes do not allow it to make or revoke tokens: use one with the scope admin."
        )


def _check_expiry(expires_at: datetime) -> None:
    now = timezone.now()
    if expires_at <= now:
        raise InvalidError("The expiry is in the past.", {"expires_at": "Choose a time in the future."})
    if expires_at > now + _LONGEST_EXPIRY:
        raise InvalidError("The expiry is too far away.", {"expires_at": "Choose a time within ten years, or none."})


def _check_password(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        message = " ".join(error.messages)
        raise InvalidError(message, {"password": message}) from None


def _free_slug(name: str) -> str:
    base = slugify(name)[:50].strip("-") or "team"
    taken = set(Team.objects.filter(slug__startswith=base).values_list("slug", flat=True))
    candidates = (base if number == 1 else f"{base}-{number}" for number in range(1, len(taken) + 2))
    return next(candidate for candidate in candidates if candidate not in taken)
