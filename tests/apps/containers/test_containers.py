"""Containers as they were seen last: whose they are, who may do what with them, what a clean-up may take."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone
from django_scopes import scope
from procrastinate.contrib.django.models import ProcrastinateJob

from devflow.apps.accounts.models import Role
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.models import Event
from devflow.apps.containers import selectors, services
from devflow.apps.containers.budgets import budget_set, disk_use
from devflow.apps.containers.cleaning import Preview, prune_preview
from devflow.apps.containers.models import Action, Follow, Snapshot
from devflow.apps.deployments.models import Deployment, Release, Status
from devflow.apps.projects.grants import environment_protect
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from devflow.core.shell import MASK
from tests.support.containers import image_of, seen
from tests.support.shop import Shop


def row(shop: Shop, name: str = "shop-blue", actor: Actor | None = None) -> selectors.ContainerRow:
    return selectors.container_get(actor=actor or shop.actor(), server=shop.server("web1"), container=name)


def deployed(shop: Shop, release: str, *, is_kept: bool, status: str = Status.SUCCESS, commit: str = "") -> str:
    """A deployment of production with its release; its id, as labels have it."""
    with scope(team=shop.team):
        made = Deployment.objects.create(
            team=shop.team,
            project=shop.project,
            environment=shop.environment,
            branch="main",
            commit=commit or uuid4().hex + "00000000",
            strategy="atomic",
            status=status,
            release=release,
        )
        pruned_at = None if is_kept else timezone.now()
        Release.objects.create(
            team=shop.team, environment=shop.environment, deployment=made, name=release, pruned_at=pruned_at
        )
    return made.pk.hex


def preview(shop: Shop, *, with_volumes: bool = False, actor: Actor | None = None) -> Preview:
    return prune_preview(actor=actor or shop.actor(), server=shop.server("web1"), with_volumes=with_volumes)


def names(found: Preview) -> list[str]:
    return [name for each in found.candidates for name in each.names]


@pytest.fixture
def looked(shop: Shop) -> Shop:
    seen(shop.server("web1"), shop.environment)
    return shop


# --- looking ----------------------------------------------------------------------------------------------------------


def test_a_look_is_asked_for_once_in_a_while(shop: Shop) -> None:
    server = shop.server("web1")

    def jobs() -> int:
        return ProcrastinateJob.objects.filter(task_name="containers.look").count()

    for _ in range(3):
        services.look_request(actor=shop.actor(Role.VIEWER), server=server)
    assert jobs() == 1
    with scope(team=shop.team):
        now = timezone.now()
        Snapshot.objects.update(asked_at=now - timedelta(seconds=10))
        services.look_request(actor=shop.actor(), server=server)
        assert jobs() == 1, "the last one has not come back"
        Snapshot.objects.update(taken_at=now)
        services.look_request(actor=shop.actor(), server=server)
        assert jobs() == 2
        Snapshot.objects.update(asked_at=now - timedelta(minutes=5), taken_at=None)
        services.look_request(actor=shop.actor(), server=server)
        assert jobs() == 3, "one that never came back does not stop all others"


def test_of_a_server_that_was_never_looked_at_nothing_is_known(shop: Shop) -> None:
    assert selectors.container_list(actor=shop.actor(), server=shop.server("web2")) == []
    with pytest.raises(NotFoundError):
        selectors.container_get(actor=shop.actor(), server=shop.server("web2"), container="x")


@pytest.mark.parametrize("kind", ["missing", "denied", "stopped", "unreachable"])
def test_each_problem_is_told_with_what_to_do(shop: Shop, kind: str) -> None:
    with scope(team=shop.team):
        snapshot = Snapshot.objects.create(team=shop.team, server=shop.server("web1"), problem=kind)
    problem = selectors.problem_of(snapshot)
    assert problem is not None
    assert "web1" in problem.what
    assert problem.advice


def test_containers_are_told_with_whose_they_are(looked: Shop) -> None:
    rows = {row.name: row for row in selectors.container_list(actor=looked.actor(), server=looked.server("web1"))}
    assert (rows["shop-blue"].owner.environment, rows["shop-blue"].role) == (looked.environment, "live")
    assert (rows["shop-old"].owner.environment, rows["shop-old"].role) == (looked.environment, "standby")
    assert (rows["theirs"].owner.is_ours, rows["theirs"].role) == (False, "")
    assert rows["shop-blue"].status == "healthy"


def test_an_image_is_called_by_its_name_where_the_container_was_made_by_its_id(looked: Shop) -> None:
    found = row(looked)
    with scope(team=looked.team):
        snapshot = Snapshot.objects.get(server=looked.server("web1"))
        (kept,) = [each for each in snapshot.content["containers"] if each["name"] == "shop-blue"]
        named = [each["tags"][0] for each in snapshot.content["images"] if each["id"] == kept["image_id"]]
        kept["image"] = kept["image_id"]
        snapshot.save()
    assert kept["image"].startswith("sha256:")
    assert (row(looked).image, named) == (named[0], [found.image])
    assert row(looked, "theirs").image == row(looked, "theirs").found["image"]


@pytest.mark.parametrize("name", ["shop-blue", "id", "beginning"])
def test_a_container_is_found_by_its_name_and_its_id(looked: Shop, name: str) -> None:
    found = row(looked)
    wanted = {"id": found.id, "beginning": found.id[:12]}.get(name, name)
    assert row(looked, wanted).id == found.id


@pytest.mark.parametrize("name", ["", "shop", "0", "nothing", "\x00", "sh%"])
def test_what_is_not_there_is_not_found(looked: Shop, name: str) -> None:
    with pytest.raises(NotFoundError):
        row(looked, name)


def test_another_teams_environment_is_not_ours(looked: Shop) -> None:
    """Two teams may know the same machine: what the labels name is an environment of one's own, or nobody's."""
    seen(looked.server("web2"), looked.environment)
    with scope(team=looked.team):
        Snapshot.objects.filter(server=looked.server("web2")).update(
            content={"containers": [row(looked).found | {"labels": {"devflow.environment": str(uuid4())}}]}
        )
    (found,) = selectors.container_list(actor=looked.actor(), server=looked.server("web2"))
    assert found.owner.words == "not ours"


def test_a_token_of_single_projects_sees_their_containers_only(looked: Shop) -> None:
    owner = looked.actor()
    narrow = Actor(owner.user, owner.team, owner.role, ("admin",), frozenset({looked.project.pk}))
    other = Actor(owner.user, owner.team, owner.role, ("admin",), frozenset({uuid4()}))
    server = looked.server("web1")
    assert [each.name for each in selectors.container_list(actor=narrow, server=server)] == ["shop-blue", "shop-old"]
    assert selectors.container_list(actor=other, server=server) == []
    assert selectors.image_list(actor=other, server=server) == []


def test_images_and_volumes_are_told_with_who_uses_them(looked: Shop) -> None:
    actor, server = looked.actor(), looked.server("web1")
    images = {each.found["tags"][0]: each for each in selectors.image_list(actor=actor, server=server)}
    assert images[image_of(looked.environment, 3)].used_by == ("shop-blue",)
    assert images[image_of(looked.environment, 2)].used_by == ()
    assert images["devflow-base:latest"].owner.words == "not ours"
    volumes = {each.found["name"]: each for each in selectors.volume_list(actor=actor, server=server)}
    assert volumes["shopdata"].owner.words == f"used by {looked.environment}"
    assert volumes["spare"].owner.environment == looked.environment
    networks = {each.found["name"]: each for each in selectors.network_list(actor=actor, server=server)}
    assert networks["shopnet"].owner.environment == looked.environment
    assert set(networks["bridge"].used_by) == {"shop-blue", "shop-old", "theirs"}


def test_who_may_not_see_secrets_sees_no_value(looked: Shop) -> None:
    found = row(looked)
    shown = dict(found.environment_for(looked.actor()))
    assert (shown["APP_ENV"], shown["DB_PASSWORD"]) == ("production", MASK)
    hidden = dict(found.environment_for(looked.actor(Role.DEVELOPER)))
    assert hidden.keys() == shown.keys()
    assert set(hidden.values()) == {MASK}


# --- acting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["restart", "start"])
def test_an_action_is_queued_and_recorded(looked: Shop, kind: str) -> None:
    action = services.container_act(actor=looked.actor(Role.DEVELOPER), row=row(looked), kind=kind)
    assert action.state == "queued"
    job = ProcrastinateJob.objects.get(task_name="containers.act")
    assert job.args == {"action_id": str(action.pk)}
    with scope(team=looked.team):
        event = Event.objects.get(action=f"container.{services.KINDS[kind]}")
    assert (event.target, event.project_id) == ("shop-blue on web1", looked.project.pk)


def test_what_serves_a_site_is_stopped_only_when_that_is_confirmed(looked: Shop) -> None:
    with pytest.raises(ConflictError, match="serves shop production now"):
        services.container_act(actor=looked.actor(), row=row(looked), kind="stop")
    services.container_act(actor=looked.actor(), row=row(looked), kind="stop", is_confirmed=True)
    services.container_act(actor=looked.actor(), row=row(looked, "theirs"), kind="stop")
    with scope(team=looked.team):
        assert Action.objects.count() == 2


def test_there_is_no_other_action(looked: Shop) -> None:
    with pytest.raises(InvalidError):
        services.container_act(actor=looked.actor(), row=row(looked), kind="rm -f")


@pytest.mark.parametrize(
    ("role", "name", "is_allowed"),
    [
        (Role.VIEWER, "shop-blue", False),
        (Role.DEVELOPER, "shop-blue", True),
        (Role.DEVELOPER, "theirs", False),
        (Role.ADMIN, "theirs", True),
    ],
)
def test_who_may_act_and_follow(looked: Shop, role: str, name: str, is_allowed: bool) -> None:
    actor = looked.actor(role)
    for work in (
        lambda: services.container_act(actor=actor, row=row(looked, name), kind="restart"),
        lambda: services.follow_start(actor=actor, row=row(looked, name)),
    ):
        if is_allowed:
            work()
        else:
            with pytest.raises(ForbiddenError):
                work()


def test_in_a_protected_environment_the_role_of_a_developer_is_not_enough(looked: Shop) -> None:
    environment_protect(actor=looked.actor(), environment=looked.environment, on=True)
    with pytest.raises(ForbiddenError):
        services.container_act(actor=looked.actor(Role.DEVELOPER), row=row(looked), kind="restart")


# --- logs -------------------------------------------------------------------------------------------------------------


def test_a_log_is_followed_once_for_all_who_look(looked: Shop) -> None:
    first = services.follow_start(actor=looked.actor(), row=row(looked))
    assert services.follow_start(actor=looked.actor(Role.DEVELOPER), row=row(looked)).pk == first.pk
    assert ProcrastinateJob.objects.filter(task_name="containers.follow").count() == 1


def test_few_logs_of_a_server_are_followed_at_once(looked: Shop) -> None:
    with scope(team=looked.team):
        for number in range(services.FOLLOWED_AT_MOST):
            Follow.objects.create(
                team=looked.team,
                server=looked.server("web1"),
                container_id=str(number),
                container_name=str(number),
                seen_at=timezone.now(),
            )
        with pytest.raises(ConflictError, match="being followed already"):
            services.follow_start(actor=looked.actor(), row=row(looked))
        Follow.objects.filter(container_id="0").update(seen_at=timezone.now() - timedelta(minutes=1))
        services.follow_start(actor=looked.actor(), row=row(looked))


@pytest.mark.parametrize("tail", [-1, services.LONGEST_TAIL + 1])
def test_a_tail_has_limits(looked: Shop, tail: int) -> None:
    with pytest.raises(InvalidError):
        services.follow_start(actor=looked.actor(), row=row(looked), tail=tail)


def test_a_followed_log_is_for_who_may_see_it(looked: Shop) -> None:
    ours = services.follow_start(actor=looked.actor(), row=row(looked))
    theirs = services.follow_start(actor=looked.actor(), row=row(looked, "theirs"))
    viewer = looked.actor(Role.VIEWER)
    assert selectors.follow_get(actor=viewer, follow_id=str(ours.pk)).pk == ours.pk
    with pytest.raises(ForbiddenError):
        selectors.follow_get(actor=viewer, follow_id=str(theirs.pk))
    with pytest.raises(NotFoundError):
        selectors.follow_get(actor=looked.actor("stranger"), follow_id=str(ours.pk))


# --- cleaning up ------------------------------------------------------------------------------------------------------


def test_what_no_kept_release_needs_may_go(shop: Shop) -> None:
    d1, d2 = (deployed(shop, name, is_kept=False) for name in ("r1", "r8"))
    d3 = deployed(shop, "r3", is_kept=True)
    seen(shop.server("web1"), shop.environment, d1=d1, d2=d2, d3=d3)
    assert names(preview(shop)) == [image_of(shop.environment, 2)], "shop-old is on standby, and uses c1"


def test_what_is_kept_by_its_deployment_its_commit_or_its_tag_stays(shop: Shop) -> None:
    commit = "c2" + "0" * 38
    d2 = deployed(shop, "r8", is_kept=False, commit=commit)
    seen(shop.server("web1"), shop.environment, d2=d2)
    assert names(preview(shop)) == [image_of(shop.environment, 2)]
    deployed(shop, "r9", is_kept=True, commit=commit)
    assert names(preview(shop)) == [], "a release that is kept has the same commit, so the same image"


def test_what_a_kept_release_runs_from_stays_whatever_its_labels_say(shop: Shop) -> None:
    d2 = deployed(shop, "r8", is_kept=False)
    snapshot = seen(shop.server("web1"), shop.environment, d2=d2)
    assert names(preview(shop)) == [image_of(shop.environment, 2)]
    (image,) = [each for each in snapshot.content["images"] if image_of(shop.environment, 2) in each["tags"]]
    with scope(team=shop.team):
        snapshot.content["roles"][shop.environment.pk.hex]["images"] = [image["id"]]
        snapshot.save()
    assert names(preview(shop)) == []


def renamed(shop: Shop, *tags: str) -> None:
    """The recorded image of d2 has no labels, and these names: as one of a Compose project."""
    snapshot = seen(shop.server("web1"), shop.environment)
    (image,) = [each for each in snapshot.content["images"] if image_of(shop.environment, 2) in each["tags"]]
    image |= {"labels": {}, "tags": list(tags)}
    with scope(team=shop.team):
        snapshot.save()


def test_images_of_a_compose_project_are_known_by_their_names(shop: Shop) -> None:
    commit = "abcdef012345" + "0" * 28
    name = f"devflow-{shop.environment.pk.hex}-web"
    deployed(shop, "20261121-104501-1234af", is_kept=False, commit=commit)
    for tags in ([f"{name}:20261121-104501-1234af"], [f"{name}:abcdef012345"]):
        renamed(shop, *tags)
        assert names(preview(shop)) == tags
        images = selectors.image_list(actor=shop.actor(), server=shop.server("web1"))
        assert {each.owner.environment for each in images if tags[0] in each.found["tags"]} == {shop.environment}
    renamed(shop, f"{name}:20261121-104501-1234af", "postgres:16")
    assert names(preview(shop)) == [], "somebody else's name is on it, too"
    renamed(shop, f"{name}:20261121-104502-0000ff")
    assert names(preview(shop)) == [], "no deployment that is known made it"
    deployed(shop, "20261121-104503-5678bc", is_kept=True)
    renamed(shop, f"{name}:20261121-104501-1234af", f"{name}:20261121-104503-5678bc")
    assert names(preview(shop)) == [], "a kept release has the same image"


def test_a_container_that_somebody_started_from_our_image_stays(shop: Shop) -> None:
    d1 = deployed(shop, "r2", is_kept=False)
    snapshot = seen(shop.server("web1"), shop.environment, d1=d1)
    snapshot.content["roles"] = {}
    (old,) = [each for each in snapshot.content["containers"] if each["name"] == "shop-old"]
    with scope(team=shop.team):
        snapshot.save()
    assert "shop-old" in names(preview(shop))
    del old["labels"]["devflow.colour"]
    with scope(team=shop.team):
        snapshot.save()
    assert "shop-old" not in names(preview(shop))


def test_what_no_deployment_that_is_known_made_stays(looked: Shop) -> None:
    """The recorded labels name deployments that this panel never made: of a restored panel, for instance."""
    assert preview(looked).candidates == ()


def test_while_a_deployment_is_under_way_nothing_of_its_environment_goes(shop: Shop) -> None:
    d2 = deployed(shop, "r8", is_kept=False)
    seen(shop.server("web1"), shop.environment, d2=d2)
    deployed(shop, "r9", is_kept=True, status=Status.RUNNING)
    found = preview(shop)
    assert found.candidates == ()
    assert found.held == ("shop production: a deployment is under way",)


def test_volumes_go_only_when_asked_for_and_named_by_nothing(looked: Shop) -> None:
    assert preview(looked).candidates == ()
    assert names(preview(looked, with_volumes=True)) == ["spare"]
    with scope(team=looked.team):
        snapshot = Snapshot.objects.get()
        snapshot.content["roles"][looked.environment.pk.hex]["volumes"] = ["spare"]
        snapshot.save()
    assert names(preview(looked, with_volumes=True)) == [], "the environment has noted that its data is there"


def test_a_clean_up_takes_what_the_preview_showed_and_nothing_newer(shop: Shop) -> None:
    server = shop.server("web1")
    d2 = deployed(shop, "r8", is_kept=False)
    seen(server, shop.environment, d2=d2)
    token = preview(shop).token
    d1 = deployed(shop, "r7", is_kept=False)
    seen(server, shop.environment, d1=d1, d2=d2)
    action = services.prune_start(actor=shop.actor(), server=server, token=token)
    assert [list(each["names"]) for each in action.given] == [[image_of(shop.environment, 2)]]
    with scope(team=shop.team):
        assert Event.objects.get(action="server.pruned").after == {
            "removed": [f"image {image_of(shop.environment, 2)}"]
        }


def test_what_is_needed_again_is_no_more_among_what_goes(shop: Shop) -> None:
    d2 = deployed(shop, "r8", is_kept=False)
    seen(shop.server("web1"), shop.environment, d2=d2)
    token = preview(shop).token
    with scope(team=shop.team):
        Release.objects.filter(name="r8").update(pruned_at=None)
    with pytest.raises(ConflictError, match="may go any more"):
        services.prune_start(actor=shop.actor(), server=shop.server("web1"), token=token)


def test_a_token_is_of_one_preview_of_one_server(shop: Shop) -> None:
    token = preview(shop).token
    for server, given in (
        (shop.server("web2"), token),
        (shop.server("web1"), token[:-2] + "xx"),
        (shop.server("web1"), ""),
    ):
        with pytest.raises(InvalidError, match="not valid any more"):
            services.prune_start(actor=shop.actor(), server=server, token=given)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER])
def test_who_may_not_change_environments_sees_no_preview(looked: Shop, role: str) -> None:
    actor = looked.actor(role)
    with pytest.raises(ForbiddenError):
        preview(looked, actor=actor)
    with pytest.raises(ForbiddenError):
        services.prune_start(actor=actor, server=looked.server("web1"), token="")


# --- disks ------------------------------------------------------------------------------------------------------------


def test_what_a_project_takes_is_counted_once(looked: Shop) -> None:
    use = disk_use(actor=looked.actor(Role.VIEWER), project=looked.project)
    (server,) = use.servers
    assert server.images == 38_590_000 + 3 * 2, "layers that three images share, and what is each one's own"
    assert server.containers == 29_200
    assert server.folders == 24_576
    assert not use.is_over


def test_images_that_share_no_layer_are_both_counted(looked: Shop) -> None:
    """What containers of the project use counts too, also where it has no label and no name of ours."""
    with scope(team=looked.team):
        snapshot = Snapshot.objects.get()
        (image,) = [each for each in snapshot.content["images"] if image_of(looked.environment, 2) in each["tags"]]
        image["lowest_layer"] = "sha256:another"
        (used,) = [each for each in snapshot.content["images"] if image_of(looked.environment, 3) in each["tags"]]
        used |= {"labels": {}, "tags": ["postgres:16"]}
        snapshot.save()
    (server,) = disk_use(actor=looked.actor(), project=looked.project).servers
    assert server.images == 2 * 38_590_000 + 3 * 2


def test_a_budget_is_set_and_told_when_it_is_passed(looked: Shop) -> None:
    budget_set(actor=looked.actor(), project=looked.project, megabytes=30)
    use = disk_use(actor=looked.actor(), project=looked.project)
    assert use.is_over
    assert "its budget of 30 MB" in use.warning
    budget_set(actor=looked.actor(), project=looked.project, megabytes=0)
    assert not disk_use(actor=looked.actor(), project=looked.project).is_over
    with scope(team=looked.team):
        assert Event.objects.filter(action="project.disk_budget_set").count() == 2


@pytest.mark.parametrize("megabytes", [-1, 2_000_000_000])
def test_a_budget_has_limits(shop: Shop, megabytes: int) -> None:
    with pytest.raises(InvalidError):
        budget_set(actor=shop.actor(), project=shop.project, megabytes=megabytes)


def test_a_budget_is_set_by_who_may_change_the_project(shop: Shop) -> None:
    with pytest.raises(ForbiddenError):
        budget_set(actor=shop.actor(Role.DEVELOPER), project=shop.project, megabytes=1)
