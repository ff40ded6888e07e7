"""Writes of people, teams and tokens."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import connection, transaction
from django.utils import timezone
from django.utils.text import slugify
from django_scopes import scope

from devflow.apps.accounts import events, rights
from devflow.apps.accounts.addresses import checked_networks
from devflow.apps.accounts.models import ApiToken, Membership, Role, Scope, SetupToken, Team, User
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.selectors import setup_token_valid, team_admits, user_exists, user_find
from devflow.apps.accounts.tokens import SHOWN, digest, token_make
from devflow.core import names
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError

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
    name = names.single_line(name, "name") if name.strip() else ""
    user = User(email=email, name=name, is_superuser=is_superuser)
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


def name_set(*, user: User, name: str) -> User:
    """How the person is called from now on; '' for by the e-mail address. Raises InvalidError."""
    before, after = user.name, names.single_line(name, "name") if name.strip() else ""
    if before == after:
        return user
    with transaction.atomic():
        user.name = after
        user.save(update_fields=["name"])
        events.record(
            team=None,
            user=user,
            action="user.renamed",
            target=user.email,
            target_id=str(user.pk),
            before={"name": before},
            after={"name": after},
        )
    return user


def team_create(*, name: str, owner: User) -> Team:
    """A new team with its first owner. The panel's first one may use the panel's own machine. Raises InvalidError."""
    name = names.single_line(name, "team")
    with transaction.atomic():
        is_first = not Team.objects.exists()
        team = Team.objects.create(name=name, slug=_free_slug(name), may_use_this_machine=is_first)
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
                "This set-up link is not valid (any more). While there is no user, `devflow up` prints one at its "
                "start, and `devflow admin setup-address` at any time."
            )
        user = user_create(email=email, password=password, name=name, is_superuser=True)
        team_create(name=team_name, owner=user)
        SetupToken.objects.all().delete()
    return user


def token_create(
    *,
    actor: Actor,
    name: str,
    scopes: list[str],
    expires_at: datetime | None = None,
    projects: Collection[UUID] | None = None,
    of_team: bool = False,
) -> tuple[ApiToken, str]:
    """A token of the actor in their team, or one `of_team`, and its raw text, which is not kept.

    `projects` are the only ones that it is for; the caller has looked that they are the team's. A token never gives
    more than who makes it has; another token makes one only with the scope admin and for all projects, so that an
    expiry is not outlived by a successor. A team's token needs the right to manage people, and stays when its maker
    leaves.
    Raises InvalidError, ForbiddenError.
    """
    _require_token_rights(actor)
    if of_team:
        actor.require(rights.MANAGE_PEOPLE)
    name = names.single_line(name, "name")
    unknown = [value for value in scopes if value not in Scope.values]
    if not scopes or unknown:
        message = f"Choose one or more scopes of: {', '.join(Scope.values)}."
        raise InvalidError(message, {"scopes": message})
    if expires_at is not None:
        _check_expiry(expires_at)
    if projects is not None and not projects:
        message = "Choose one or more projects."
        raise InvalidError(message, {"projects": message})
    for right in sorted({right for value in scopes for right in rights.SCOPE_RIGHTS[value]}):
        if not actor.can_somewhere(right):
            actor.require(right)
    raw = token_make()
    with transaction.atomic(), scope(team=actor.team):
        token = ApiToken.objects.create(
            team=actor.team,
            user=_machine(name) if of_team else actor.user,
            made_by=actor.user,
            name=name,
            prefix=raw[:SHOWN],
            digest=digest(raw),
            scopes=sorted(set(scopes)),
            projects=None if projects is None else sorted(set(projects)),
            expires_at=expires_at,
        )
        _record_token(actor, token, "token.created")
    return token, raw


def token_revoke(*, actor: Actor, token_id: str) -> None:
    """Revokes one's own token, or any of the team for who manages people. Raises NotFoundError, ForbiddenError."""
    _require_token_rights(actor)
    with transaction.atomic(), scope(team=actor.team):
        token = ApiToken.objects.select_for_update(of=("self",)).filter(pk=token_id, revoked_at=None).first()
        if token is None:
            raise NotFoundError("There is no such token.")
        if token.user_id != actor.user.pk:
            actor.require(rights.MANAGE_PEOPLE)
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at"])
        _record_token(actor, token, "token.revoked")


def team_networks_set(*, actor: Actor, networks: Iterable[str], address: str, is_confirmed: bool = False) -> Team:
    """From where the team's members and tokens may come; no network allows every address.

    A list without `address`, from which the actor comes, must be confirmed. Raises InvalidError, ForbiddenError.
    """
    actor.require(rights.MANAGE_PEOPLE)
    wanted = checked_networks(networks)
    with transaction.atomic():
        team = Team.objects.select_for_update().get(pk=actor.team.pk)
        before, team.allowed_networks = team.allowed_networks, wanted
        if not is_confirmed and not team_admits(team=team, address=address):
            message = f"Your own address, {address}, is not in this list: it would lock you out. Add it, or confirm."
            raise InvalidError(message, {"is_confirmed": message})
        team.save(update_fields=["allowed_networks"])
        _record_networks(team, before, actor)
    return team


def team_networks_clear(*, team: Team, who: str) -> Team:
    """Every address may reach the team again: the way out for who is locked out, on the panel's own machine."""
    before, team.allowed_networks = team.allowed_networks, []
    with transaction.atomic():
        team.save(update_fields=["allowed_networks"])
        _record_networks(team, before, None, who)
    return team


def _record_networks(team: Team, before: list[str], actor: Actor | None, who: str = "") -> None:
    events.record(
        team=team,
        actor=actor,
        who=who,
        action="team.networks_changed",
        target=team.name,
        target_id=str(team.pk),
        before={"networks": before},
        after={"networks": team.allowed_networks},
    )


def _record_token(actor: Actor, token: ApiToken, action: str) -> None:
    told = {
        "scopes": token.scopes,
        "projects": None if token.projects is None else list(map(str, token.projects)),
        "expires_at": token.expires_at and token.expires_at.isoformat(),
        "of_team": token.user.is_machine,
    }
    events.record(team=actor.team, actor=actor, action=action, target=token.name, target_id=str(token.pk), after=told)


def _machine(name: str) -> User:
    """Whom a team's token speaks for: nobody else. Its address can be nobody's: see RFC 2606."""
    machine = User(email=f"{names.uuid7()}@tokens.invalid", name=name, is_active=False, is_machine=True)
    machine.set_unusable_password()
    machine.save()
    return machine


def _require_token_rights(actor: Actor) -> None:
    if actor.scopes is not None and Scope.ADMIN not in actor.scopes:
        raise ForbiddenError(
            "This token's scopes do not allow it to make or revoke tokens: use one with the scope admin."
        )
    if actor.projects is not None:
        raise ForbiddenError("This token is for single projects; it may not make or revoke tokens.")


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


def keys_switch(*, user: User, on: bool) -> None:
    """Whether single keys do something on the pages that this person looks at."""
    user.uses_keys = on
    user.save(update_fields=["uses_keys"])


def language_choose(*, user: User, language: str) -> None:
    """In which language the pages are for this person; empty: as the browser asks. Raises InvalidError."""
    if language and language not in dict(settings.LANGUAGES):
        raise InvalidError("The panel does not speak this language.", {"language": "Choose one of the list."})
    user.language = language
    user.save(update_fields=["language"])
