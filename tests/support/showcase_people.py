"""The people of the showcase's team: roles, invitations, tokens, grants, channels, second factors, browsers, archives.

Everything is written in a transaction, with Django set up; no mail is sent and no channel is told anything.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # its module needs Django to be set up
    from tests.support.showcase import Showcase

ROLES = ("owner", "admin", "developer", "viewer")
CHANNELS = (
    # name, kind, settings, what is wrong with it
    ("#deployments", "slack", {"url": "https://hooks.slack.com/services/secret-part"}, ""),
    ("Incident bridge", "webhook", {"url": "https://ops.example.org/devflow"}, "failing"),
    ("Release notes", "discord", {"url": "https://discord.com/api/webhooks/1/secret-part"}, "refused"),
    ("Night shift", "teams", {"url": "https://acme.webhook.office.com/secret-part"}, "off"),
)
TOLD = (
    # title, status, answer, error, attempts
    ("Checkout production failed", "sent", 200, "", 1),
    ("Storefront production succeeded", "sent", 200, "", 2),
    ("Booking production was rolled back", "failed", 404, "The service answered 404: no_service.", 1),
)
AGENTS = (
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Version/18.1 Safari/604.1", "203.0.113.99", 3),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "198.51.100.23", 170),
)


def fill_people(made: Showcase) -> None:
    _team(made)
    _tokens(made)
    _grants(made)
    _channels(made)
    _account(made)
    _archives(made)


def _team(made: Showcase) -> None:
    from devflow.apps.accounts.invitations import invitation_create
    from devflow.apps.accounts.models import Invitation, Membership, Role
    from tests.support.second_factor import app_of

    for back, (person, role) in enumerate(zip(made.people, ROLES, strict=True)):
        joined = made.now - timedelta(days=400 - 90 * back)
        Membership.objects.filter(user=person).update(role=role, created_at=joined)
    app_of(made.people[1])
    invitation_create(actor=made.owner, role=Role.DEVELOPER, email="katherine@example.org")
    old, _link = invitation_create(actor=made.owner, role=Role.VIEWER, days=1)
    Invitation.objects.filter(pk=old.pk).update(expires_at=made.now - timedelta(hours=5))


def _tokens(made: Showcase) -> None:
    from devflow.apps.accounts.models import ApiToken
    from devflow.apps.accounts.services import token_create
    from devflow.apps.projects.models import Project

    checkout = frozenset(Project.objects.filter(slug="checkout").values_list("pk", flat=True))
    wanted: list[tuple[str, list[str], frozenset[Any] | None, int | None, bool]] = [
        ("laptop", ["read", "deploy"], None, 90, False),
        ("ci of the checkout", ["deploy"], checkout, 5, True),
        ("backup script", ["read"], None, None, False),
    ]
    for name, scopes, projects, days, of_team in wanted:
        token, _raw = token_create(
            actor=made.owner,
            name=name,
            scopes=scopes,
            expires_at=made.now + timedelta(days=days) if days else None,
            projects=projects,
            of_team=of_team,
        )
        if name != "backup script":
            used = made.now - timedelta(minutes=12)
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=used, last_used_address="203.0.113.7")


def _grants(made: Showcase) -> None:
    from devflow.apps.projects.grants import environment_protect, grants_add
    from devflow.apps.projects.models import Environment, Grant

    production = Environment.objects.select_related("project").get(project__slug="checkout", name="production")
    environment_protect(actor=made.owner, environment=production, on=True)
    for email, actions, where in (
        ("linus@example.org", ["deploy", "see_secrets"], production),
        ("mina@example.org", ["approve"], None),
    ):
        grants_add(actor=made.owner, project=production.project, email=email, actions=actions, environment=where)
    Grant.objects.update(granted_at=made.now - timedelta(days=9))


def _channels(made: Showcase) -> None:
    from devflow.apps.notifications.models import Channel, Notification
    from devflow.apps.notifications.services import channel_add

    for name, kind, settings, wrong in CHANNELS:
        channel, _secrets = channel_add(actor=made.owner, kind=kind, name=name, settings=settings)
        refused = "The address is not known to the service any more (404)." if wrong == "refused" else ""
        Channel.objects.filter(pk=channel.pk).update(is_enabled=wrong != "off", problem=refused)
        common = {"team": made.team, "channel": channel, "event": "deployment.failed"}
        for back, (title, status, answer, error, attempts) in reversed(list(enumerate(TOLD))):
            at = made.now - timedelta(hours=1 + 7 * back)
            row = Notification.objects.create(
                **common,
                message={"title": title},
                status=status,
                attempts=attempts,
                response_status=answer,
                error=error,
                finished_at=at,
            )
            Notification.objects.filter(pk=row.pk).update(created_at=at)
        if wrong == "failing":
            Notification.objects.create(
                **common,
                message={"title": "Checkout production failed"},
                attempts=2,
                response_status=503,
                error="The service answered 503.",
                next_attempt_at=made.now + timedelta(minutes=4),
            )
        if name == "#deployments":
            made.shown["channel"] = str(channel.pk)


def _account(made: Showcase) -> None:
    """Two more browsers, a passkey, an authenticator app and the codes that come with them."""
    from importlib import import_module

    from allauth.mfa.models import Authenticator
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
    from allauth.usersessions.models import UserSession
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

    from tests.support.second_factor import app_of

    user = made.owner.user
    user.set_password("a long enough phrase")
    user.save(update_fields=["password"])
    store = import_module(settings.SESSION_ENGINE).SessionStore
    for agent, address, hours in AGENTS:
        session = store()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.create()
        seen = made.now - timedelta(hours=hours)
        row = UserSession.objects.create(user=user, session_key=session.session_key, ip=address, user_agent=agent)
        UserSession.objects.filter(pk=row.pk).update(created_at=seen - timedelta(days=6), last_seen_at=seen)
    app_of(user)
    RecoveryCodes.activate(user)
    Authenticator.objects.create(
        user=user,
        type=Authenticator.Type.WEBAUTHN,
        data={"name": "Laptop", "credential": {"clientExtensionResults": {}}},
    )
    Authenticator.objects.filter(user=user).update(created_at=made.now - timedelta(days=80))


def _archives(made: Showcase) -> None:
    from devflow.apps.privacy.models import Archive

    same = {"user": made.owner.user, "team": made.team, "expires_at": made.now + timedelta(days=6)}
    team = Archive.objects.create(
        **same, kind="team", subject_id=made.team.pk, subject="acme", size=4_812_331, finished_at=made.now
    )
    Archive.objects.filter(pk=team.pk).update(created_at=made.now - timedelta(hours=20))
    Archive.objects.create(
        **{**same, "team": None}, kind="user", subject_id=made.owner.user.pk, subject=made.owner.user.email
    )
