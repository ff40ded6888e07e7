"""Writes of privacy: archives asked for, accounts, projects and teams deleted with all that belongs to them."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Replace
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts import rights
from devflow.apps.accounts.models import Invitation, Membership, Role, Team, User
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.selectors import actor_get
from devflow.apps.audit.models import ApiRequest
from devflow.apps.audit.services import audit_record, events_erase, person_record
from devflow.apps.deployments.models import OPEN, Deployment
from devflow.apps.deployments.models import Event as DeploymentEvent
from devflow.apps.notifications.models import Notification
from devflow.apps.privacy.models import Archive
from devflow.apps.projects.models import Environment, Project
from devflow.apps.projects.services import project_remove
from devflow.apps.queue import BACKGROUND, MANUAL, enqueue, enqueue_each
from devflow.apps.servers.models import Server
from devflow.apps.sources.models import Source
from devflow.commands.swarm import MANAGER
from devflow.core.errors import ConflictError, InvalidError, NotFoundError

KEPT: Final = timedelta(days=7)
JOURNALS_KEPT: Final = timedelta(days=32)
"""Longer than a server keeps the journal of a run (remote/facts.py)."""
SOMEBODY: Final = "a deleted account"


# --- archives ---------------------------------------------------------------------------------------------------------


def archive_request(*, actor: Actor, kind: str, project: Project | None = None) -> Archive:
    """Has a worker write all data of the actor, of the project, or of the team into an archive.

    One's own data is everybody's right; a project's needs `manage` (and `audit` for what the log tells of it), a team's
    `own`. Raises ForbiddenError, InvalidError, ConflictError (one is being made).
    """
    if kind not in Archive.KINDS or (kind == "project") != (project is not None):
        raise InvalidError("Choose what to export.", {"kind": f"Choose one of: {', '.join(Archive.KINDS)}."})
    if actor.scopes is not None:
        actor.require(rights.OWN)  # which no token has: archives are for people
    if kind == "user":
        return account_export(user=actor.user)
    if kind == "team":
        actor.require(rights.OWN)
    if project is not None:
        actor.require(rights.MANAGE, project)
    subject = project or actor.team
    with transaction.atomic(), scope(team=actor.team):
        Team.objects.select_for_update(no_key=True).get(pk=actor.team.pk)
        archive = _archive_make(user=actor.user, team=actor.team, kind=kind, pk=subject.pk, name=subject.slug)
        audit_record(
            team=actor.team,
            actor=actor,
            action="data.exported",
            target=f"{kind} {subject.slug}",
            target_id=str(subject.pk),
            project_id=project.pk if project else None,
        )
    return archive


def account_export(*, user: User) -> Archive:
    """Has a worker write all data of the person, who may be in no team. Raises ConflictError (one is being made)."""
    with transaction.atomic(), scopes_disabled():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        archive = _archive_make(user=user, team=None, kind="user", pk=user.pk, name=user.email)
        target = f"user {user.email}"
        person_record(team=None, user=user, action="data.exported", target=target, target_id=str(user.pk))
    return archive


def archive_list(*, user: User, team: Team | None = None) -> list[Archive]:
    """The person's own archives and those that they have asked for in this team, while they are there; the newest
    first."""
    with scopes_disabled():
        return list(_archives(user).filter(Q(kind="user") | Q(team=team)).order_by("-id"))


def archive_open(*, actor: Actor, archive_id: str) -> tuple[Archive, Path]:
    """An archive and its file, for who asked for it and still may. Raises NotFoundError, ForbiddenError."""
    with scope(team=actor.team):
        found = _archives(actor.user).filter(pk=archive_id).exclude(kind="user").first()
        project = Project.objects.filter(pk=found.subject_id).first() if found and found.kind == "project" else None
    archive, path = _with_file(found)
    if archive.kind == "team":
        actor.require(rights.OWN)
    else:
        actor.require(rights.MANAGE, project)
    told = f"{archive.kind} {archive.subject}"
    audit_record(team=actor.team, actor=actor, action="data.fetched", target=told, target_id=archive.pk.hex)
    return archive, path


def account_archive_open(*, user: User, archive_id: str) -> tuple[Archive, Path]:
    """An archive of the person's own data, and its file. Raises NotFoundError."""
    with scopes_disabled():
        archive, path = _with_file(_archives(user).filter(pk=archive_id, kind="user").first())
    told = f"user {archive.subject}"
    person_record(team=None, user=user, action="data.fetched", target=told, target_id=archive.pk.hex)
    return archive, path


def log_is_told(*, archive: Archive) -> bool:
    """Whether who asked for the archive may read the audit log: of oneself everybody may, of the rest who has the right
    `audit`."""
    if archive.kind == "user":
        return True
    try:
        return actor_get(user=archive.user, team=archive.team).can(rights.AUDIT)
    except NotFoundError:
        return False


def archive_path(archive: Archive) -> Path:
    """Where its file is, in a folder that only the panel's own user may enter."""
    folder = Path(settings.DATA_DIR) / "exports"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{archive.pk}.zip"


def archives_clean() -> None:
    """Removes archives that have run out, and files that belong to none."""
    with scopes_disabled():
        Archive.objects.filter(expires_at__lte=timezone.now()).delete()
        kept = {f"{pk}.zip" for pk in Archive.objects.values_list("pk", flat=True)}
    folder = Path(settings.DATA_DIR) / "exports"
    for path in folder.glob("*.zip") if folder.is_dir() else ():
        if path.name not in kept:
            path.unlink(missing_ok=True)


def _archive_make(*, user: User, team: Team | None, kind: str, pk: UUID, name: str) -> Archive:
    """In the caller's transaction, which holds what the archive is of. Raises ConflictError."""
    if Archive.objects.filter(user=user, subject_id=pk, finished_at=None).exists():
        raise ConflictError("This archive is being made already: it appears in the list.")
    expires_at = timezone.now() + KEPT
    archive = Archive.objects.create(
        team=team, user=user, kind=kind, subject_id=pk, subject=name, expires_at=expires_at
    )
    enqueue("privacy.export", priority=MANUAL, archive_id=str(archive.pk))
    return archive


def _archives(user: User) -> QuerySet[Archive]:
    return Archive.objects.filter(user=user, expires_at__gt=timezone.now())


def _with_file(archive: Archive | None) -> tuple[Archive, Path]:
    path = archive_path(archive) if archive else None
    if archive is None or path is None or archive.finished_at is None or not path.exists():
        raise NotFoundError("There is no such archive (any more).")
    return archive, path


# --- deletions --------------------------------------------------------------------------------------------------------


def teams_owned_alone(user: User) -> list[Team]:
    """The teams that would be without an owner."""
    with scopes_disabled():
        owned = Membership.objects.filter(user=user, role=Role.OWNER).select_related("team")
        others = Membership.objects.filter(role=Role.OWNER, user__is_active=True).exclude(user=user)
        with_others = set(others.values_list("team_id", flat=True))
    return [membership.team for membership in owned if membership.team_id not in with_others]


def user_delete(*, user: User, is_own: bool = False) -> None:
    """Deletes the account with all that is the person's: what others need stays without saying who it was.

    `is_own`: the person does it. Raises ConflictError while they are the last owner of a team.
    """
    with transaction.atomic(), scopes_disabled():
        User.objects.select_for_update().get(pk=user.pk)
        teams = teams_owned_alone(user)
        if teams:
            names = ", ".join(team.name for team in teams)
            raise ConflictError(
                f"The only owner of: {names}. Make somebody else an owner there, or delete the team first."
            )
        of_teams = list(Team.objects.filter(memberships__user=user))
        archives = [archive_path(each) for each in Archive.objects.filter(user=user)]
        _forget_texts(user)
        _end_sessions(user)
        ApiRequest.objects.filter(user_id=user.pk).delete()
        Invitation.objects.filter(Q(email__iexact=user.email) | Q(accepted_by=user)).delete()
        _forget_jobs(user.email)
        user_id, email = user.pk, user.email
        user.delete()
        for team in [*of_teams, None]:
            audit_record(team=team, who="" if is_own else "panel", action="account.deleted", target_id=str(user_id))
        events_erase(person=(user_id, email))
        transaction.on_commit(lambda: _unlink(archives))


def project_delete(*, actor: Actor, project: Project, with_files: bool = False) -> None:
    """Deletes the project with its environments and deployments.

    `with_files`: what its sites have left on the servers too, by workers; volumes with data stay.
    Raises ForbiddenError, ConflictError (a deployment is under way).
    """
    actor.require(rights.MANAGE, project)
    with transaction.atomic(), scope(team=actor.team):
        folders = _folders(Environment.objects.filter(project=project)) if with_files else []
        project_remove(actor=actor, project=project)
        asked = [{"team_id": str(actor.team.pk), **folder} for folder in folders]
        enqueue_each("privacy.remove_files", asked, priority=BACKGROUND)


def team_delete(*, actor: Actor, with_files: bool = False) -> bool:
    """Deletes the actor's team with all that is in it; True where it is gone already.

    With what its sites have left on servers a worker does it: that first, for which it needs the servers' keys; where
    something cannot be removed the team stays, and its audit log says why. Raises ForbiddenError, ConflictError.
    """
    actor.require(rights.OWN)
    with transaction.atomic(), scope(team=actor.team):
        _refuse_while_deploying(actor.team)
        if with_files:
            audit_record(team=actor.team, actor=actor, action="team.deletion_requested", target=actor.team.name)
            enqueue("privacy.remove_team", priority=MANUAL, team_id=str(actor.team.pk))
            return False
        team_erase(team=actor.team)
    return True


def team_erase(*, team: Team) -> None:
    """Deletes the team and all of its data; of its audit log a stub stays. Raises ConflictError."""
    with transaction.atomic(), scopes_disabled():
        Team.objects.select_for_update().get(pk=team.pk)
        _refuse_while_deploying(team)
        archives = [archive_path(each) for each in Archive.objects.filter(team=team)]
        machines = list(User.objects.filter(is_machine=True, tokens__team=team).values_list("pk", flat=True))
        team_id = team.pk
        Project.objects.filter(team=team).delete()
        Source.objects.filter(team=team).delete()
        ApiRequest.objects.filter(team=team).delete()
        Team.objects.filter(pk=team_id).delete()
        User.objects.filter(pk__in=machines).delete()
        events_erase(team_id=team_id)
        audit_record(team=None, who="panel", action="team.deleted", target_id=str(team_id))
        transaction.on_commit(lambda: _unlink(archives))


def team_folders(team: Team) -> list[dict[str, Any]]:
    """The folders of the team's sites with their servers, as arguments of the job that removes one."""
    with scope(team=team):
        return _folders(Environment.objects.all())


def _folders(environments: QuerySet[Environment]) -> list[dict[str, Any]]:
    """`deployments` are those whose journals servers may still have: they keep none for longer."""
    found = environments.select_related("project", "balancer", "builder").prefetch_related("servers")
    since = timezone.now() - JOURNALS_KEPT
    return [
        {
            "server_id": str(server.pk),
            "root": environment.root,
            "mirrors": sorted({environment.project.mirror, *_mirrors_before(environment)}),
            "deployments": [pk.hex for pk in recent.values_list("pk", flat=True)],
            "environment": environment.pk.hex,
            "serves": serves,
        }
        for environment in found
        for recent in [environment.deployments.filter(created_at__gt=since)]
        for server, serves in _machines(environment)
    ]


def _machines(environment: Environment) -> list[tuple[Server, bool]]:
    """All servers that may have something of the environment, and whether they serve it: who spreads the requests comes
    first, then who manages the swarm."""
    serving = list(environment.servers.all())
    clusters = {server.cluster_id for server in serving if server.cluster_id}
    managers = [server for server in serving if server.cluster_role == MANAGER]
    if clusters and not managers:
        managers = list(Server.objects.filter(cluster__in=clusters, cluster_role=MANAGER)[:1])
    in_order = filter(None, (environment.balancer, *managers, *serving, environment.builder))
    return [(server, server in serving) for server in dict.fromkeys(in_order)]


def _mirrors_before(environment: Environment) -> set[str]:
    """Of repositories that the project had before: plans remember them."""
    names_of = environment.deployments.exclude(plan=None).values_list("plan__site__mirror", flat=True)
    return set(filter(None, names_of.order_by().distinct()))


def _refuse_while_deploying(team: Team) -> None:
    if Deployment.objects.filter(team=team, status__in=OPEN).exists():
        raise ConflictError("A deployment is under way. Cancel it or wait for its end.")


def _forget_texts(user: User) -> None:
    """Takes the person out of sentences that the panel wrote itself, and out of what notifications tell."""
    said = str(user)
    cancelled = Deployment.objects.filter(cancelled_by=user, error__contains=said)
    cancelled.update(error=Replace("error", Value(said), Value(SOMEBODY)))
    touched = DeploymentEvent.objects.filter(Q(deployment__requested_by=user) | Q(deployment__cancelled_by=user))
    lines = touched.filter(kind="deployment.log", data__server="panel", text__startswith=said)
    for pk, text in list(lines.values_list("pk", "text")):
        # as many bytes as before: offsets into the log count them
        length = len(said.encode())
        DeploymentEvent.objects.filter(pk=pk).update(text=SOMEBODY.ljust(length)[:length] + text[len(said) :])
    for event in touched.filter(kind="deployment.completed", data__error__icontains=said):
        event.data["error"] = event.data["error"].replace(said, SOMEBODY)
        event.save(update_fields=["data"])
    Deployment.objects.filter(author__icontains=user.email).update(author="")
    names_them = Q(message__requested_by=said) | Q(message__icontains=user.email)
    Notification.objects.filter(names_them).delete()


def _end_sessions(user: User) -> None:
    """Of all browsers, also those that are listed nowhere."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    for key in Session.objects.values_list("session_key", flat=True):
        session = store(key)
        if session.load().get(SESSION_KEY) == str(user.pk):
            session.delete(key)


def _forget_jobs(email: str) -> None:
    """Jobs of mails that could not be sent name whom they are for."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM procrastinate_jobs WHERE status <> 'doing' AND lower(args ->> 'email') = lower(%s)", [email]
        )


def _unlink(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
