"""What the pages of containers are made of, on a server with Docker: looking, acting, cleaning up, following logs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.containers import selectors, services
from devflow.apps.containers.budgets import budget_set, disk_use, disk_warnings
from devflow.apps.containers.cleaning import prune_preview
from devflow.apps.containers.models import Follow, Snapshot
from devflow.apps.deployments.models import Deployment, Release, Status
from devflow.apps.projects.models import Environment
from devflow.core.errors import ConflictError
from devflow.core.shell import MASK
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.panel import wait_until
from tests.support.server_pages import ServerPages
from tests.support.vps import Vps

SLEEP = 'python3 -c "import time; time.sleep(9999)"'
TALK = """\
import time
print("password is s3cret-mail-word", flush=True)
for n in range(9999):
    print("line", n, flush=True)
    time.sleep(0.2)
"""
CHATTY = "python3 -c \"while True: print('x' * 200)\""


@dataclass
class Place(ServerPages):
    """A server with Docker, and an environment there whose containers are made by hand, labelled as deployments do."""

    vps: Vps
    environment: Environment

    def docker(self, command: str) -> str:
        return self.vps.run(f"docker {command}").stdout.strip()

    def labels(self, deployment: str, **more: str) -> str:
        pairs = {"environment": self.environment.pk.hex, "deployment": deployment, **more}
        return " ".join(f"--label devflow.{name}={value}" for name, value in pairs.items())

    def image(self, deployment: str) -> str:
        """Builds an image as a deployment of ours does; its tag."""
        tag = f"devflow/{self.environment.pk.hex}:{deployment[-12:]}-01234567"
        recipe = f'FROM devflow-base\\nENV BUILT={deployment}\\nCMD [\\"sleep\\", \\"9999\\"]\\n'
        self.vps.run(f'printf "{recipe}" | docker build -q {self.labels(deployment)} -t {tag} -')
        return tag

    def deployment(self, release: str, *, is_kept: bool) -> str:
        """A deployment that has ended, with its release; its id, as labels have it."""
        with scope(team=self.environment.team):
            made = Deployment.objects.create(
                team=self.environment.team,
                project=self.environment.project,
                environment=self.environment,
                branch="main",
                commit=uuid4().hex + "00000000",
                strategy="atomic",
                status=Status.SUCCESS,
                release=release,
                finished_at=timezone.now(),
            )
            Release.objects.create(
                team=self.environment.team,
                environment=self.environment,
                deployment=made,
                name=release,
                pruned_at=None if is_kept else timezone.now(),
            )
        return made.pk.hex

    def clear(self) -> None:
        self.vps.run("docker ps -aq | xargs -r docker rm -f >/dev/null; docker volume prune -af >/dev/null")
        self.vps.run("docker image ls -q --filter label=devflow.environment | xargs -r docker image rm -f >/dev/null")


@pytest.fixture(scope="module")
def made(deployer: Deployer, vps_docker: Vps) -> Place:
    deployer.keep_one_worker()
    server = deployer.add_server(vps_docker)
    project = deployer.add_project(f"boxes-{uuid4().hex[:6]}", "/srv/git/none.git")
    environment = deployer.add_environment(
        project, "production", servers=[server.name], root=f"/home/{vps_docker.user}/boxes"
    )
    deployer.set_variables(environment, {"MAIL_PASSWORD": "s3cret-mail-word"})
    return Place(panel=deployer, server=server, vps=vps_docker, environment=environment)


@pytest.fixture
def place(made: Place, worker: WorkerProcess) -> Iterator[Place]:
    made.clear()
    yield made
    made.clear()


def test_what_runs_there_is_seen_with_whose_it_is_and_without_secrets(place: Place) -> None:
    deployment = place.deployment("r1", is_kept=True)
    labels = place.labels(deployment, colour="blue", release="r1")
    odd = """--label 'devflow.odd=it'"'"'s "odd" $(touch /tmp/pwned) ü' --label 'x=\\n=problem stopped'"""
    place.docker(
        f"run -d --name ours {labels} {odd} -e HELLO=s3cret-mail-word -e APP_ENV=live -e API_TOKEN=abcdef"
        f" -v data:/data -p 127.0.0.1:18099:80 devflow-base {SLEEP}"
    )
    place.docker(f"run -d --name theirs -e PLAIN=private devflow-base {SLEEP}")
    place.vps.run("mkdir -p ~/boxes/.devflow && echo 'blue r1' >~/boxes/.devflow/live")
    snapshot = place.look()
    assert snapshot.problem == ""
    assert snapshot.content["version"].startswith("26.")
    ours, theirs = place.row("ours"), place.row("theirs")
    assert ours.owner.environment == place.environment
    assert (ours.role, ours.status, ours.is_live) == ("live", "running", True)
    assert ours.found["ports"] == ["127.0.0.1:18099→80/tcp"]
    assert ours.found["cpu_percent"] is not None
    shown = dict(ours.environment_for(place.panel.actor))
    assert (shown["HELLO"], shown["API_TOKEN"], shown["APP_ENV"]) == (MASK, MASK, "live")
    assert not theirs.owner.is_ours
    assert dict(theirs.environment_for(place.panel.actor))["PLAIN"] == MASK
    assert "private" not in str(snapshot.content)
    assert "s3cret-mail-word" not in str(snapshot.content)
    volumes = {row.found["name"]: row for row in selectors.volume_list(actor=place.panel.actor, server=place.server)}
    assert volumes["data"].used_by == ("ours",)
    assert volumes["data"].owner.words == f"used by {place.environment}"
    assert place.vps.run("ls /tmp/pwned", check=False).returncode != 0
    place.vps.run("rm -r ~/boxes/.devflow")


def test_a_container_is_restarted_stopped_and_started_and_what_came_of_it_is_seen(place: Place) -> None:
    deployment = place.deployment("r1b", is_kept=True)
    place.docker(f"run -d --init --name ours {place.labels(deployment)} devflow-base {SLEEP}")
    place.look()
    before = place.row("ours").started_at
    done = place.act("ours", "restart")
    assert (done.state, done.message) == ("done", "It is running.")
    assert place.row("ours").started_at != before, "the snapshot is new by the time the action has ended"
    with pytest.raises(ConflictError, match="serves"):
        place.act("ours", "stop")
    stopped = place.act("ours", "stop", is_confirmed=True)
    assert stopped.state == "done"
    assert place.row("ours").found["state"] == "exited"
    assert place.act("ours", "start").state == "done"


def test_a_container_that_ends_again_is_no_success(place: Place) -> None:
    deployment = place.deployment("r1c", is_kept=True)
    place.docker(f"create --name ours {place.labels(deployment)} devflow-base sh -c 'exit 7'")
    place.look()
    failed = place.act("ours", "start")
    assert failed.state == "failed"
    assert "exit code 7" in failed.message


def test_a_clean_up_removes_what_the_preview_showed_and_nothing_else(place: Place) -> None:
    kept, old, live = (place.deployment(f"r2{part}", is_kept=part != "b") for part in "abc")
    kept_image, old_image, live_image = (place.image(each) for each in (kept, old, live))
    place.docker(f"run -d --name live {place.labels(live, colour='blue', release='r2c')} {live_image}")
    place.docker(f"create --name left {place.labels(old, colour='green', release='r2b')} {old_image}")
    place.docker(f"create --name foreign-ended --label devflow.environment={uuid4().hex} devflow-base true")
    place.docker("create --name unlabelled devflow-base true")
    place.docker("volume create foreign")
    ours = f"--label devflow.environment={place.environment.pk.hex}"
    place.docker(f"volume create {ours} --label com.docker.compose.project=p composed")
    place.docker(f"volume create {ours} loose")
    preview = place.preview()
    assert {name for each in preview.candidates for name in each.names} == {"left", old_image}
    with_volumes = place.preview(with_volumes=True)
    assert {each.id for each in with_volumes.candidates if each.kind == "volume"} == {"loose"}
    done = place.prune(preview)
    assert (done.state, {each["outcome"] for each in done.result}) == ("done", {"removed"})
    assert set(place.docker("ps -a --format '{{.Names}}'").split()) == {"live", "foreign-ended", "unlabelled"}
    images = place.docker("image ls --format '{{.Repository}}:{{.Tag}}'").split()
    assert kept_image in images
    assert live_image in images
    assert old_image not in images
    assert set(place.docker("volume ls -q").split()) >= {"foreign", "composed", "loose"}
    assert prune_preview(actor=place.panel.actor, server=place.server).candidates == ()


def test_what_came_into_use_after_the_preview_is_left_where_it_is(place: Place) -> None:
    old, other = (place.deployment(f"r3{part}", is_kept=False) for part in "ab")
    image, tagged = place.image(old), place.image(other)
    place.docker(f"create --name left {place.labels(old, colour='green', release='r3a')} {image}")
    preview = place.preview()
    assert len(preview.candidates) == 3
    # the panel does not know of any of this: the server's script finds it
    place.docker(f"run -d --name new {image}")
    place.docker("start left")
    place.docker(f"tag {tagged} theirs/app:1")
    with scopes_disabled():
        Snapshot.objects.filter(server=place.server).update(asked_at=timezone.now())
    done = place.prune(preview)
    assert {each["why"] for each in done.result} <= {
        "it is running now",
        "it is exited now",
        "a container uses it",
        "it has other names now",
        "",
    }
    kept = {each["kind"]: each["outcome"] for each in done.result}
    assert kept["image"] == "kept"
    assert {image, tagged} <= set(place.docker("image ls --format '{{.Repository}}:{{.Tag}}'").split())
    assert "new" in place.docker("ps -a --format '{{.Names}}'")


def test_an_image_whose_release_is_on_the_server_or_locked_stays(place: Place) -> None:
    old = place.deployment("r4a", is_kept=False)
    image = place.image(old)
    preview = place.preview()
    place.vps.run("mkdir -p ~/boxes/releases/r4a ~/boxes/.devflow")
    assert [each["why"] for each in place.prune(preview).result] == ["its release can be rolled back to"]
    place.vps.run("rmdir ~/boxes/releases/r4a; echo 'other x' >~/boxes/.devflow/lock")
    assert [each["why"] for each in place.prune(preview).result] == ["a deployment is under way"]
    place.vps.run("rm ~/boxes/.devflow/lock")
    assert image in place.docker("image ls --format '{{.Repository}}:{{.Tag}}'")


def test_two_clean_ups_at_once_remove_each_thing_once(place: Place) -> None:
    deployments = [place.deployment(f"r5{part}", is_kept=False) for part in "abcd"]
    for each in deployments:
        place.image(each)
    preview = place.preview()
    assert len(preview.candidates) == 4
    started = [
        services.prune_start(actor=place.panel.actor, server=place.server, token=preview.token) for _ in range(2)
    ]
    ended = [place.ended(each) for each in started]
    outcomes = sorted(each["outcome"] for action in ended for each in action.result)
    assert [action.state for action in ended] == ["done", "done"]
    assert outcomes == ["gone"] * 4 + ["removed"] * 4


def test_a_daemon_that_is_stopped_is_told_with_what_to_do(place: Place) -> None:
    deployment = place.deployment("r6", is_kept=True)
    place.docker(f"run -d --restart always --name ours {place.labels(deployment)} devflow-base {SLEEP}")
    place.look()
    row = place.row("ours")
    place.vps.run("systemctl stop docker.socket docker", user="root")
    try:
        snapshot = place.look()
        problem = selectors.problem_of(snapshot)
        assert problem is not None
        assert (problem.kind, problem.what) == ("stopped", f"Docker does not run on {place.server.name}.")
        assert "systemctl start docker" in problem.advice
        asked = services.container_act(actor=place.panel.actor, row=row, kind="restart")
        assert place.ended(asked).state == "failed"
    finally:
        place.vps.run("systemctl start docker.socket docker", user="root")
    assert place.look().problem == ""


def test_who_may_not_use_docker_is_told_which_group_is_missing(place: Place) -> None:
    place.vps.run("gpasswd -d deploy docker", user="root")
    place.vps.restart_sshd()  # a login keeps the groups that it had
    try:
        problem = selectors.problem_of(place.look())
        assert problem is not None
        assert problem.kind == "denied"
        assert "usermod -aG docker deploy" in problem.advice
    finally:
        place.vps.run("gpasswd -a deploy docker", user="root")
        place.vps.restart_sshd()
    assert place.look().problem == ""


def test_a_log_is_followed_masked_and_ends_when_nobody_looks(place: Place) -> None:
    deployment = place.deployment("r7", is_kept=True)
    place.vps.put(TALK, "/tmp/talk.py")
    mount = "-v /tmp/talk.py:/talk.py devflow-base python3 /talk.py"
    place.docker(f"run -d --init --name ours {place.labels(deployment)} {mount}")
    place.look()
    follow = place.follow("ours")
    wait_until(lambda: "line 3" in place.text(follow), 20, what=place.panel.output)
    assert f"password is {MASK}" in place.text(follow)
    assert "s3cret" not in place.text(follow)
    assert place.follow("ours").pk == follow.pk, "who follows it too shares it"
    with scopes_disabled():
        Follow.objects.filter(pk=follow.pk).update(seen_at=timezone.now() - timedelta(minutes=1))

    def ended() -> bool:
        now = selectors.follow_get(actor=place.panel.actor, follow_id=str(follow.pk))
        return now.is_ended

    wait_until(ended, 20, what=place.panel.output)
    wait_until(lambda: not place.vps.run("pgrep -f 'docker logs'", check=False).stdout, 10, what=lambda: "docker logs")


def test_a_container_that_prints_without_end_costs_little_and_is_told_so(place: Place) -> None:
    deployment = place.deployment("r8", is_kept=True)
    place.docker(f"run -d --name ours {place.labels(deployment)} --log-opt max-size=10m devflow-base {CHATTY}")
    place.look()
    follow = place.follow("ours")
    wait_until(lambda: "lines are left out" in place.text(follow), 40, what=place.panel.output)
    before = len(place.text(follow))
    time.sleep(4)
    grown = len(place.text(follow)) - before
    assert 0 < grown < 4 * 6 * 65_536 * 1.5, "at most four parts a second, with some air"
    place.docker("rm -f ours")
    wait_until(
        lambda: selectors.follow_get(actor=place.panel.actor, follow_id=str(follow.pk)).is_ended,
        30,
        what=place.panel.output,
    )


def test_disk_use_of_a_project_is_told_and_warned_about(place: Place) -> None:
    deployment = place.deployment("r9", is_kept=True)
    image = place.image(deployment)
    place.docker(f"run -d --name ours {place.labels(deployment)} -v disk:/data {image}")
    place.docker("exec ours sh -c 'head -c 3000000 /dev/zero >/data/big; head -c 2000000 /dev/zero >/more'")
    place.look()
    project = place.environment.project
    use = disk_use(actor=place.panel.actor, project=project)
    (server,) = use.servers
    assert server.images > 30_000_000
    assert server.volumes >= 3_000_000
    assert server.containers >= 2_000_000
    with scope(team=place.environment.team):
        assert disk_warnings(project) == ()
    budget_set(actor=place.panel.actor, project=project, megabytes=1)
    with scope(team=place.environment.team):
        (warning,) = disk_warnings(project)
    assert "more than its budget of 1 MB" in warning
    budget_set(actor=place.panel.actor, project=project, megabytes=100_000)
    with scope(team=place.environment.team):
        assert disk_warnings(project) == ()
