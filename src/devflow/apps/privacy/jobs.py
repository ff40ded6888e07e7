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
from devflow.commands import leaving
from devflow.core import names
from devflow.core.errors import DevflowError, RemoteError
from devflow.core.shell import quote

log = logging.getLogger(__name__)

REMOVE_SECONDS: Final = 600
NOT_OURS: Final = leaving.NOT_OURS
TOLD: Final = 1000
"""So many characters of what went wrong are kept."""


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
    environment: str = "",
    serves: bool = True,
    reach: ServerReach,
) -> None:
    """Removes what an environment (its id, hexadecimal) has left on a server: what asks it there, what runs of it, its
    images, its folder, and the journals of its deployments. A server that does not serve it only balances or builds.

    Raises RemoteError where something was not: the job is tried again. Without an environment, as jobs of before have
    it, only the folder and the journals.
    """
    server = await sync_to_async(_server)(server_id)
    if server is None:
        return
    stays: list[str] = []
    try:
        script = remove_script(root, mirrors, deployments, environment=environment, serves=serves)
        await _remove(server, script, root, reach, stays)
    except RemoteError as error:
        await sync_to_async(_record)(team_id, server.name, root, str(error), stays)
        raise
    await sync_to_async(_record)(team_id, server.name, root, "", stays)


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


def remove_script(
    root: str, mirrors: Sequence[str], deployments: Sequence[str] = (), *, environment: str = "", serves: bool = True
) -> str:
    """Shell text that removes what is left of an environment, its folder if that is one of ours and `serves` the site,
    the project's mirrors, and the journals of these deployments. Raises InvalidError."""
    folder = names.root(root)
    return (
        "{\n"
        f"root={quote(folder if serves else '')}\n"
        + (leaving.head(environment) + leaving.STOP if environment else "")
        + f"for mirror in {' '.join(quote(names.relative_path(mirror, 'mirror')) for mirror in mirrors)}; do\n"
        '  rm -rf -- "$HOME/.devflow/repos/$mirror.git"\n'
        "done\n"
        f"for deployment in {' '.join(map(quote, deployments))}; do\n"
        '  rm -rf -- "$HOME/.devflow/runs/$deployment"-*\n'
        "done\n" + (leaving.END if environment else "") + (leaving.FOLDER if serves else "") + 'exit "${failed:-0}"\n'
        "} </dev/null\n"  # which is the rest of this text
    )


async def _remove(server: Server, script: str, root: str, reach: ServerReach, stays: list[str]) -> None:
    """Adds to `stays` what was left on purpose."""
    reach.remember([server])
    connection = await reach.get(server.pk.hex)
    done = await connection.run("sh -s", script.encode(), timeout_seconds=REMOVE_SECONDS)
    lines = done.stdout.splitlines()
    stays += [line.removeprefix(leaving.STAYS) for line in lines if line.startswith(leaving.STAYS)]
    if done.exit_code == NOT_OURS:
        raise RemoteError(f"{root} on {server.name} is no folder that the panel deployed to: it was left as it is.")
    if done.exit_code != 0:
        raise RemoteError(
            f"{root} on {server.name} could not be removed: {done.stderr.strip()[:TOLD] or 'no reason told'}"
        )


def _server(server_id: str) -> Server | None:
    with scopes_disabled():
        return Server.objects.filter(pk=server_id).first()


def _team(team_id: str) -> Team | None:
    return Team.objects.filter(pk=UUID(team_id)).first()


def _record(team_id: str, server: str, root: str, problem: str, stays: Sequence[str] = ()) -> None:
    team = _team(team_id)
    if team is None:
        return
    told = {"problem": problem} if problem else {}
    if stays:
        told["stays"] = "; ".join(stays)
    with scope(team=team):
        audit_record(
            team=team,
            who="panel",
            action="files.removed",
            target=f"{root} on {server}" if server else root,
            after=told or None,
            outcome="failed" if problem else "done",
        )
