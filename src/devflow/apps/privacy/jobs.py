"""Background entry points of privacy: archives are written, sites' folders removed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from asgiref.sync import sync_to_async
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts.models import Team
from devflow.apps.audit.services import audit_record
from devflow.apps.privacy import services
from devflow.apps.privacy.export import archive_write
from devflow.apps.privacy.models import Archive
from devflow.apps.servers.models import Server
from devflow.apps.servers.reach import ServerReach
from devflow.core import names
from devflow.core.errors import DevflowError, RemoteError
from devflow.core.shell import quote

log = logging.getLogger(__name__)

REMOVE_SECONDS: Final = 600
NOT_OURS: Final = 3


def export(archive_id: str) -> None:
    """Writes the archive that was asked for; what goes wrong is told in its row."""
    with scopes_disabled():
        archive = Archive.objects.select_related("user", "team").filter(pk=archive_id, finished_at=None).first()
    if archive is None:
        return
    made = {"error": ""}
    try:
        size = archive_write(
            services.archive_path(archive),
            kind=archive.kind,
            subject_id=archive.subject_id,
            subject=archive.subject,
            has_log=services.log_is_told(archive=archive),
        )
        made |= {"size": size}  # type: ignore[dict-item]
    except OSError as error:
        log.exception("archive %s was not written", archive_id)
        made["error"] = f"The archive could not be written: {error.strerror or error}."
    with scopes_disabled():
        Archive.objects.filter(pk=archive_id).update(finished_at=timezone.now(), **made)


async def remove_files(
    *,
    team_id: str,
    server_id: str,
    root: str,
    mirrors: Sequence[str],
    deployments: Sequence[str] = (),
    reach: ServerReach,
) -> None:
    """Removes a site's folder and the journals of its deployments (their ids, hexadecimal) from a server.

    Raises RemoteError where it was not: the job is tried again.
    """
    server = await sync_to_async(_server)(server_id)
    if server is None:
        return
    try:
        await _remove(server, remove_script(root, mirrors, deployments), root, reach)
    except RemoteError as error:
        await sync_to_async(_record)(team_id, server.name, root, str(error))
        raise
    await sync_to_async(_record)(team_id, server.name, root, "")


async def remove_team(*, team_id: str, reach: ServerReach) -> None:
    """Removes all sites' folders of a team, and then the team; it stays where one of them could not be removed."""
    team = await sync_to_async(_team)(team_id)
    if team is None:
        return
    for folder in await sync_to_async(services.team_folders)(team):
        try:
            await remove_files(team_id=team_id, reach=reach, **folder)
        except RemoteError:
            return
    try:
        await sync_to_async(services.team_erase)(team=team)
    except DevflowError as error:
        await sync_to_async(_record)(team_id, "", team.name, str(error))


def remove_script(root: str, mirrors: Sequence[str], deployments: Sequence[str] = ()) -> str:
    """Shell text that removes a site's folder, if it is one of ours, the project's mirrors, and the journals of these
    deployments. Raises InvalidError."""
    return (
        f"root={quote(names.root(root))}\n"
        f"for mirror in {' '.join(quote(names.relative_path(mirror, 'mirror')) for mirror in mirrors)}; do\n"
        '  rm -rf -- "$HOME/.devflow/repos/$mirror.git"\n'
        "done\n"
        f"for deployment in {' '.join(map(quote, deployments))}; do\n"
        '  rm -rf -- "$HOME/.devflow/runs/$deployment"-*\n'
        "done\n"
        '[ -e "$root" ] || [ -L "$root" ] || exit 0\n'
        f'[ -d "$root/.devflow" ] || exit {NOT_OURS}\n'
        # what shows that it is ours goes last: where something cannot be removed, it is tried again
        'find "$root/" -mindepth 1 -maxdepth 1 ! -name .devflow -exec rm -rf -- {} + '
        '&& rm -rf -- "$root" && [ ! -e "$root" ]\n'
    )


async def _remove(server: Server, script: str, root: str, reach: ServerReach) -> None:
    reach.remember([server])
    connection = await reach.get(server.pk.hex)
    done = await connection.run("sh -s", script.encode(), timeout_seconds=REMOVE_SECONDS)
    if done.exit_code == NOT_OURS:
        raise RemoteError(f"{root} on {server.name} is no folder that the panel deployed to: it was left as it is.")
    if done.exit_code != 0:
        raise RemoteError(
            f"{root} on {server.name} could not be removed: {done.stderr.strip()[:300] or 'no reason told'}"
        )


def _server(server_id: str) -> Server | None:
    with scopes_disabled():
        return Server.objects.filter(pk=server_id).first()


def _team(team_id: str) -> Team | None:
    return Team.objects.filter(pk=UUID(team_id)).first()


def _record(team_id: str, server: str, root: str, problem: str) -> None:
    team = _team(team_id)
    if team is None:
        return
    with scope(team=team):
        audit_record(
            team=team,
            who="panel",
            action="files.removed",
            target=f"{root} on {server}" if server else root,
            after={"problem": problem} if problem else None,
            outcome="failed" if problem else "done",
        )
