"""Background entry points: a deployment carried from wherever it is to its end, by whichever worker holds it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, close_old_connections, connection, transaction
from django.db.models import Count, Q
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts.models import Team
from devflow.apps.audit.services import audit_record
from devflow.apps.bulk import records
from devflow.apps.containers.budgets import disk_warnings
from devflow.apps.deployments import announce, events, services
from devflow.apps.deployments.events import NewEvent
from devflow.apps.deployments.models import ACTIVE, Deployment, Run, Status, Step
from devflow.apps.deployments.planning import plan_deploy, plan_rollback, recipe_of, site_of
from devflow.apps.deployments.recorder import DeploymentRecorder
from devflow.apps.deployments.settings import compose_options, file_error, file_of, needs_look
from devflow.apps.deployments.variables import missing_warnings, secrets_of
from devflow.apps.projects.models import Environment
from devflow.apps.servers.models import Server
from devflow.apps.servers.reach import ServerReach
from devflow.core import dotenv
from devflow.core.crypto import derive_key
from devflow.core.error_id import fault_text
from devflow.core.errors import ClaimLostError, ConnectError, DevflowError, InvalidError, RemoteError
from devflow.core.masking import Masker
from devflow.engine import devfile, inspect
from devflow.engine.inspect import Seen
from devflow.engine.plan import Plan, Site
from devflow.engine.runner import Observed, Runner, Steering
from devflow.engine.script import RunSecrets
from devflow.recipes import detect
from devflow.remote.transport import Connection

log = logging.getLogger(__name__)
STEERING_SECONDS = 1
"""How often a worker looks what a person wants of a canary that it carries."""


@dataclass(slots=True)
class _Claimed:
    """A deployment that this worker carries, with all that the engine needs."""

    deployment: Deployment
    team: Team
    claim: uuid.UUID
    plan: Plan | None
    steps: list[Step]
    runs: list[Run]
    servers: list[Server]
    secrets: RunSecrets = field(default_factory=RunSecrets)


async def advance(*, deployment_id: str, reach: ServerReach, cancelled: Callable[[str], asyncio.Event]) -> None:
    """Carries a deployment on until it has ended; does nothing when it has, or may not begin yet.

    May be called any number of times, by several workers: the one that claimed last goes on, the others stop at their
    next write.
    """
    claimed = await sync_to_async(_claim)(deployment_id)
    if claimed is None:
        return
    log.info("deployment %s is carried from here on", deployment_id)
    stop = cancelled(deployment_id)
    if claimed.deployment.cancel_requested_at is not None:
        stop.set()
    try:
        reach.remember(claimed.servers)
        claimed.secrets = await sync_to_async(_secrets)(claimed.deployment.environment, claimed.team)
        if claimed.plan is None:
            claimed.plan, claimed.steps = await _plan(claimed, reach)
        await _carry_out(claimed, claimed.plan, reach, stop)
    except ClaimLostError:
        log.warning("deployment %s was taken over by another worker", deployment_id)
        return
    except (OperationalError, InterfaceError):
        raise  # the database is away: the worker tries again
    except DevflowError as error:
        await sync_to_async(_fail)(claimed, str(error))
    except Exception as error:  # a fault of the panel's: told at once, not tried for ever
        log.exception("deployment %s failed by a fault of the panel", deployment_id)
        await sync_to_async(_fail)(claimed, f"{fault_text(error)} Look at the site, and deploy again.")
    await sync_to_async(services.deployments_adopt)()


async def _carry_out(claimed: _Claimed, plan: Plan, reach: ServerReach, stop: asyncio.Event) -> None:
    observed = Observed.from_json(claimed.deployment.observed)
    if claimed.deployment.plan:  # an earlier worker may have reached a server without having come to write it down
        observed.reached = {target.name for target in plan.site.everyone}
    masker = await asyncio.to_thread(Masker, claimed.secrets.values())  # many long secrets must not hold up the others
    recorder = DeploymentRecorder(
        deployment=claimed.deployment,
        team=claimed.team,
        plan=plan,
        steps=claimed.steps,
        runs=claimed.runs,
        observed=observed,
        masker=masker,
        claim=claimed.claim,
    )
    steering = Steering(claimed.deployment.steering)
    runner = Runner(
        plan=plan,
        deployment=claimed.deployment.pk.hex,
        secrets=claimed.secrets,
        nonce_key=_frame_key(claimed.deployment),
        reach=reach,
        recorder=recorder,
        observed=observed,
        cancelled=stop,
        ending=claimed.deployment.ending,
        error=claimed.deployment.error,
        steering=steering,
    )
    async with recorder.writing() as writer:
        carrying = asyncio.ensure_future(runner.carry_out())
        hearing = asyncio.ensure_future(_hear(claimed.deployment, plan, steering))
        try:
            await asyncio.wait([carrying, writer], return_when=asyncio.FIRST_COMPLETED)
            if not carrying.done():
                await writer
            outcome = await carrying
        finally:
            carrying.cancel()
            hearing.cancel()
            await asyncio.gather(carrying, hearing, return_exceptions=True)
    await recorder.finish(outcome)


async def _hear(deployment: Deployment, plan: Plan, steering: Steering) -> None:
    """Looks what a person wants of a canary. What fails, as without a database, is looked at again."""
    while plan.strategy == "canary":
        await asyncio.sleep(STEERING_SECONDS)
        with contextlib.suppress(OperationalError, InterfaceError):
            steering.say(await sync_to_async(services.steering_of)(deployment.pk))


def _frame_key(deployment: Deployment) -> bytes:
    """Of its own, since a master key may be rotated meanwhile; what began before version 2 has one of the oldest."""
    oldest = settings.MASTER_KEYS.now()[-1]
    return bytes.fromhex(deployment.frame_key) if deployment.frame_key else derive_key(oldest, b"devflow-frames-v1")


async def _plan(claimed: _Claimed, reach: ServerReach) -> tuple[Plan, list[Step]]:
    """Makes and stores the plan; looks into the repository first where the plan depends on what is in it. Going back to
    a release reloads what its own recipe does, whatever the branch holds by now."""
    environment, rollback_to = claimed.deployment.environment, claimed.deployment.rollback_to
    recipe, commit, detected = recipe_of(environment), claimed.deployment.commit, environment.detected
    if rollback_to:
        recipe = (rollback_to.plan or {}).get("recipe") or recipe
    elif needs_look(environment):
        detected = await _look(environment, claimed.team, claimed.secrets, reach, commit)
        recipe, commit = environment.project.recipe or detected["recipe"], detected["commit"]
        await sync_to_async(_require_variables)(environment, claimed.team, detected)
    return await sync_to_async(_store_plan)(claimed, recipe, commit, detected)


async def _look(
    environment: Environment, team: Team, secrets: RunSecrets, reach: ServerReach, commit: str
) -> dict[str, Any]:
    """What `environment.detected` is to be, as the first server finds it; what went wrong is kept there and raised."""

    def site() -> Site:
        with scope(team=team):
            return site_of(environment)

    place = await sync_to_async(site)()
    target = place.targets[0]
    try:
        connection = await reach.get(target.id)
        seen = await inspect.look(connection, site=place, target=target, commit=commit, secrets=secrets)
        # a file made to be slow must not hold up the others
        found = await asyncio.to_thread(_detected, environment, seen)
        options = await asyncio.to_thread(compose_options, environment, found)
        if options is not None:
            found |= await _services(connection, place, seen, options, secrets)
    except DevflowError as error:
        problem = {"error": str(error), "at": timezone.now().isoformat()}
        await sync_to_async(_keep_detected)(environment, team, environment.detected | problem)  # the rest still holds
        raise
    return found


async def _services(
    connection: Connection, site: Site, seen: Seen, options: dict[str, str], secrets: RunSecrets
) -> dict[str, Any]:
    """What the Compose file of the commit holds, or what is wrong with it, without the values of variables."""
    try:
        composition = await inspect.look_at_services(
            connection, site=site, target=site.targets[0], commit=seen.commit, options=options, secrets=secrets
        )
    except ConnectError:
        raise
    except RemoteError as error:
        masker = await asyncio.to_thread(Masker, secrets.values())
        return {"services_error": masker.mask(str(error))}
    return {"services": composition.to_json(), "top": sorted(seen.tree.files)}


def _detected(environment: Environment, seen: Seen) -> dict[str, Any]:
    """`required` are the variables that the commit's .env.example asks for, `file` is its devflow.yml, and `file_error`
    what is wrong with that."""
    contents = seen.tree.contents
    found: dict[str, Any] = {"recipe": detect(seen.tree, strategy=environment.strategy).name, "commit": seen.commit}
    found |= {"error": "", "at": timezone.now().isoformat()}
    found["required"] = dotenv.required(contents.get(".env.example", ""))
    file = None if devfile.NAME in seen.left_out else contents.get(devfile.NAME, "")
    recipe = environment.project.recipe or found["recipe"]
    return found | {"file": file or "", "file_error": file_error(environment, recipe=recipe, file=file)}


def _require_variables(environment: Environment, team: Team, detected: dict[str, Any]) -> None:
    """Raises InvalidError where the environment insists on what the commit requires, and some of it is not set."""
    with scope(team=team):
        warnings = missing_warnings(environment, detected) if environment.requires_variables else ()
    if warnings:
        _keep_detected(environment, team, detected)
        raise InvalidError(f"{warnings[0]} Nothing was changed. Set them, and deploy again.")


def _keep_detected(environment: Environment, team: Team, detected: dict[str, Any]) -> None:
    environment.detected = detected
    with scope(team=team):
        environment.save(update_fields=["detected"])


async def inspect_environment(*, environment_id: str, reach: ServerReach) -> None:
    """Looks which framework the branch holds, and keeps it in `environment.detected` (or what went wrong)."""

    def load() -> tuple[Environment, RunSecrets, list[Server]] | None:
        with scopes_disabled():
            environment = Environment.objects.select_related("project", "team").filter(pk=environment_id).first()
        if environment is None:
            return None
        with scope(team=environment.team):
            return environment, _secrets(environment, environment.team), environment.machines

    loaded = await sync_to_async(load)()
    if loaded is None:
        return
    environment, secrets, servers = loaded
    reach.remember(servers)
    with contextlib.suppress(DevflowError):  # the reason is in `detected` by now
        detected = await _look(environment, environment.team, secrets, reach, "")
        await sync_to_async(_keep_detected)(environment, environment.team, detected)


def _claim(deployment_id: str) -> _Claimed | None:
    """Takes the deployment over with a new claim; None when it has ended or must wait for its turn."""
    close_old_connections()
    deployment = _load(deployment_id) if services.deployment_is_due(deployment_id) else None
    if deployment is None:
        return None
    with scope(team=deployment.team):
        claim = uuid.uuid4()
        if deployment.status in ACTIVE:
            taken = Deployment.objects.filter(pk=deployment.pk, status__in=ACTIVE).update(claim=claim)
        else:
            taken = _begin(deployment, claim)
        if not taken:
            return None
        deployment = _load(deployment_id)
        assert deployment is not None  # a removal would have found it active, and refused
        if deployment.trigger in services.WITH_BRANCH:
            deployment.environment.branch = deployment.branch  # for the engine only: the environment keeps its own
        plan = Plan.from_json(deployment.plan) if deployment.plan else None
        return _Claimed(
            deployment=deployment,
            team=deployment.team,
            claim=claim,
            plan=plan,
            steps=list(Step.objects.filter(deployment=deployment)) if plan else [],
            runs=list(Run.objects.filter(deployment=deployment)) if plan else [],
            servers=deployment.environment.machines,
        )


def _load(deployment_id: str) -> Deployment | None:
    with scopes_disabled():
        found = Deployment.objects.select_related(
            *("team", "project", "rollback_to", "requested_by"),
            *("environment__project", "environment__balancer", "environment__builder"),
        )
        return found.prefetch_related("environment__servers").filter(pk=deployment_id).first()


def _begin(deployment: Deployment, claim: uuid.UUID) -> bool:
    """queued → running, where no other is active in the environment and its servers have room."""
    with transaction.atomic():
        if services.deployment_hold(deployment):
            return False
        servers = list(Server.objects.select_for_update().filter(environments=deployment.environment_id).order_by("pk"))
        busy = _active_by_server(servers)
        if any(busy[server.pk] >= server.deployment_limit for server in servers):
            return False
        try:
            with transaction.atomic():
                begun = Deployment.objects.filter(pk=deployment.pk, status=Status.QUEUED).update(
                    status=Status.RUNNING, claim=claim, started_at=timezone.now()
                )
        except IntegrityError:
            return False
        if begun:
            names = ", ".join(server.name for server in servers if not server.is_local)
            if names:
                audit_record(
                    team=deployment.team,
                    user=deployment.requested_by,
                    who="webhook",
                    action="key.used",
                    target=names,
                    target_id=str(deployment.pk),
                    project_id=deployment.project_id,
                    after={"for": f"deployment to {deployment.environment}"},
                )
            started = NewEvent(
                "deployment.started", {"status": Status.RUNNING.value, "environment": deployment.environment.name}
            )
            events.append(team_id=deployment.team_id, deployment_id=deployment.pk, events=[started], claim=claim)
            announce.deployment_changed(deployment_id=deployment.pk, team_id=deployment.team_id, event=announce.STARTED)
        return bool(begun)


def _active_by_server(servers: list[Server]) -> dict[uuid.UUID, int]:
    active = Count("environments__deployments", filter=Q(environments__deployments__status__in=ACTIVE))
    counted = Server.objects.filter(pk__in=[server.pk for server in servers]).annotate(active=active)
    return {server.pk: server.active for server in counted}


def _secrets(environment: Environment, team: Team) -> RunSecrets:
    """What the environment's scripts carry. Raises ConflictError when the master key is another one."""
    with scope(team=team):
        return secrets_of(environment)


def _store_plan(claimed: _Claimed, recipe: str, commit: str, detected: dict[str, Any]) -> tuple[Plan, list[Step]]:
    deployment = claimed.deployment
    environment = deployment.environment
    if detected.get("file_error") and detected is not environment.detected and environment.project.reads_file:
        _keep_detected(environment, claimed.team, detected)  # for the pages and the commit's status: this one fails
        with scope(team=claimed.team):
            Deployment.objects.filter(pk=deployment.pk, claim=claimed.claim).update(commit=commit)
    with scope(team=claimed.team), transaction.atomic():
        make, file = plan_deploy, ""
        if deployment.rollback_to:
            make, file = plan_rollback, (deployment.rollback_to.plan or {}).get("file", "")
        else:
            file = file_of(environment, detected)
        plan = make(
            environment=environment,
            recipe=recipe or "static",
            release=deployment.release,
            commit=commit,
            file=file,
            detected=detected,
        )
        if not deployment.rollback_to:
            warnings = (*missing_warnings(environment, detected), *disk_warnings(environment.project))
            plan = replace(plan, warnings=(*plan.warnings, *warnings))
        plan = replace(plan, is_clean=deployment.is_clean)
        deployment.frame_key = secrets.token_hex(32)
        held = Deployment.objects.filter(pk=deployment.pk, claim=claimed.claim).update(
            plan=plan.to_json(), frame_key_sealed=deployment.frame_key_sealed
        )
        if not held:
            raise ClaimLostError("Another worker carries this deployment now.")
        if detected is not deployment.environment.detected:
            Environment.objects.filter(pk=deployment.environment_id).update(detected=detected)
        steps = [
            Step(
                team=claimed.team,
                deployment=deployment,
                server_name=server,
                phase=step.task.phase.value,
                name=step.task.name,
                position=step.position,
                command=step.task.command.strip(),
            )
            for step in plan.steps
            for server in step.servers
        ]
        _insert(steps)
    return plan, steps


def _insert(steps: list[Step]) -> None:
    """As bulk_create does, with less work in Python: a plan for many servers has hundreds."""
    names = ("id", "server_name", "phase", "name", "position", "command", "status")
    rows = [tuple(getattr(step, name) for name in names) for step in steps]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO deployments_step (team_id, deployment_id, {', '.join(names)}) SELECT %s, %s, new.*"  # noqa: S608
            " FROM json_to_recordset(%s)"
            " AS new(id uuid, server_name text, phase text, name text, position int, command text, status text)",
            [steps[0].team_id, steps[0].deployment_id, records(names, rows)],
        )


def _fail(claimed: _Claimed, error: str) -> None:
    """Ends a deployment without the engine's help."""
    deployment = claimed.deployment
    error = Masker(claimed.secrets.values()).mask(error)
    with transaction.atomic(), scope(team=claimed.team):
        ended = NewEvent("deployment.completed", {"status": Status.FAILED.value, "error": error})
        if events.append(team_id=deployment.team_id, deployment_id=deployment.pk, events=[ended], claim=claimed.claim):
            Deployment.objects.filter(pk=deployment.pk).update(
                status=Status.FAILED, error=error, finished_at=timezone.now(), claim=None
            )
            announce.deployment_changed(
                deployment_id=deployment.pk,
                team_id=deployment.team_id,
                event=announce.ended_event(Status.FAILED),
            )
