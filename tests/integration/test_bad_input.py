"""Nasty names and values, repositories and servers in a bad state: refused or carried literally, told in words."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex

import pytest

from devflow.core import dotenv
from devflow.core.errors import InvalidError
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.gitrepo import GitRepository
from tests.support.keys import make_key_pair
from tests.support.panel import wait_until
from tests.support.sites import Estate, Site
from tests.support.vps import Vps

pytestmark = pytest.mark.usefixtures("worker")

REFUSED = ["; rm -rf ~", "two\nlines", "a\x00b", "x" * 501, ""]
VALUES = {
    "QUOTES": """it's "quoted" and 'quoted'""",
    "LINES": "first\nsecond 'line'\n\n  last\n",
    "UNICODE": "Grüße, 世界 🚀 \N{ZERO WIDTH JOINER}e\N{COMBINING ACUTE ACCENT}",
    "SUBSTITUTION": "$(id) `id` ${HOME} $HOME $$ $1 !! \\$(id)",
    "BACKSLASHES": "C:\\new\\table \\n \\\\ \\",
    "SHELL_SYNTAX": "; rm -rf ~ && exit 1 | cat > /tmp/x # *? [a-z] {a,b} ~ <<END",
    "SPACES": "  leading, trailing and\ttab  ",
    "EMPTY": "",
    "EQUALS": "a=b=c",
    "DASHES": "-----BEGIN KEY-----\nabc+/=\n-----END KEY-----\n",
    "CARRIAGE": "one\r\ntwo\rthree",
    "LONG": "x" * 100_000,
}
READ_BY_PHP = r"""
require '/usr/share/php/Dotenv/autoload.php';
echo json_encode(Dotenv\Dotenv::parse(file_get_contents($argv[1])));
"""


@pytest.fixture
def site(estate: Estate, worker: WorkerProcess) -> Site:
    """Deployed once, with the page `before`."""
    estate.commit("before")
    made = estate.site(f"site-{token_hex(3)}")
    made.check(made.deploy(), status="success", serves="before")
    return made


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", REFUSED)
def test_names_that_are_refused_with_the_field(site: Site, deployer: Deployer, value: str) -> None:
    for field in ("branch", "root"):
        refused(field, lambda field=field: deployer.change(site.environment, **{field: value}))
    for name in (value, "$(id)", "Ünïcode", "a'b", "x" * 300):
        refused("slug", lambda name=name: deployer.add_project(name, "/srv/git/x.git"))
        refused("key", lambda name=name: deployer.set_variables(site.environment, {name: "value"}))
    refused("repository", lambda: deployer.add_project("x", value))
    for path in ("/etc/passwd", "../../etc/passwd", "a/../../b", ".git/config", "two\nlines"):
        refused("shared_files", lambda path=path: deployer.change(site.environment, shared_files=[path]))
    refused("commit", lambda: deployer.request(site.environment, commit=value or "-"))


@pytest.mark.parametrize(
    "branch",
    [
        "$(touch${IFS}/tmp/executed)",
        "`touch${IFS}/tmp/executed`;x&&y|z",
        """it's"quoted"<x>""",
        "zweig/größe-世界",
        "-".join("x" * 99),
    ],
)
def test_a_branch_is_carried_literally(site: Site, estate: Estate, vps: Vps, deployer: Deployer, branch: str) -> None:
    estate.repository.commit({"index.html": branch}, branch=branch)
    deployer.change(site.environment, branch=branch)
    deployment = site.check(site.deploy(), status="success", serves=branch)
    assert deployment.branch == branch
    assert vps.run("ls /tmp/executed", check=False).returncode != 0


def test_paths_are_carried_literally(estate: Estate, vps: Vps, deployer: Deployer) -> None:
    name = """it's "q" $(touch /tmp/executed) `id`; größe"""
    estate.repository.commit({"index.html": "page", f"{name}/{name}.txt": "of the commit"}, message=f"{name}\x1e\ttab")
    root = f"/srv/www/{name}"
    site = estate.site("paths", root=root, shared_folders=[name], shared_files=[f"config/{name}"])
    deployment = site.deploy()
    assert deployment.status == "success", deployer.describe(deployment)
    assert deployment.commit_message.startswith(name)
    shared = shlex.quote(f"{root}/shared/{name}/{name}.txt")
    assert vps.run(f"cat {shared}").stdout == "of the commit"
    deployment = site.deploy()
    assert deployment.status == "success", deployer.describe(deployment)
    assert vps.run(f"~/.devflow/bin/devflow-run rollback {shlex.quote(root)}").returncode == 0
    assert vps.run("ls /tmp/executed", check=False).returncode != 0
    estate.repository.commit({f"{name}/{name}.txt": None})


# --- values -----------------------------------------------------------------------------------------------------------


def test_values_reach_commands_and_the_env_file_byte_for_byte(estate: Estate, vps: Vps, deployer: Deployer) -> None:
    keep = "; ".join(f'printf %s "${key}" | base64 -w0 >>values; echo >>values' for key in VALUES)
    estate.commit("page")
    site = estate.site("values", phase_commands={"prepare": [keep]})
    deployer.set_variables(site.environment, VALUES)
    deployment = site.deploy()
    assert deployment.status == "success", deployer.describe(deployment)
    seen = vps.run(f"cat {site.root}/current/values").stdout.splitlines()
    assert dict(zip(VALUES, (base64.b64decode(line).decode() for line in seen), strict=True)) == VALUES
    written = base64.b64decode(vps.run(f"base64 -w0 {site.root}/current/.env").stdout).decode()
    assert dotenv.parse(written) == VALUES
    assert vps.run(f"stat -L -c '%a %U' {site.root}/current/.env {site.root}/shared/.env").stdout == "600 deploy\n" * 2
    assert (
        vps.run(f"grep -rlF 'BEGIN KEY' {site.root}/current/.env ~/.devflow/runs", check=False).stdout.count("\n") == 1
    )


def test_laravel_s_own_reader_reads_the_env_file(estate: Estate, vps: Vps, deployer: Deployer) -> None:
    """Its parser knows neither a carriage return within a value nor an escaped backtick: these are left out here."""
    values = {key: value for key, value in VALUES.items() if key not in ("CARRIAGE", "LONG")}
    estate.commit("page")
    site = estate.site("php-values")
    deployer.set_variables(site.environment, values)
    assert site.deploy().status == "success"
    read = vps.run(f"php -r {shlex.quote(READ_BY_PHP)} {site.root}/current/.env").stdout
    assert json.loads(read) == values


def test_no_secret_is_in_a_command_line_or_stays_in_a_run(site: Site, vps: Vps, deployer: Deployer) -> None:
    deployer.set_variables(site.environment, {"TOKEN": "s3cret-of-the-site"})
    site.hold("prepare")
    deployment = site.request()
    deployer.wait_for_step(deployment, "prepare command 1")
    lines = vps.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", user="root").stdout
    assert "devflow-run" in lines
    assert "s3cret-of-the-site" not in lines
    site.let_go()
    deployer.wait_ended(deployment)
    assert vps.run("grep -rl s3cret-of-the-site ~/.devflow", check=False).stdout == ""


# --- repositories -----------------------------------------------------------------------------------------------------


def test_repositories_that_cannot_be_fetched(estate: Estate, vps: Vps, deployer: Deployer) -> None:
    vps.run("git init -q --bare /home/deploy/empty.git; mkdir -p /home/deploy/nothing")
    private = f"deploy@localhost:{estate.repository.path}"
    cases: list[tuple[str, dict[str, str], list[str]]] = [
        ("/home/deploy/absent.git", {}, [vps.name, "no repository /home/deploy/absent.git", "local path"]),
        ("/home/deploy/nothing", {}, ["no git repository at /home/deploy/nothing"]),
        ("/home/deploy/empty.git", {}, ["no branch 'main'", "empty repository", "Push the branch"]),
        (estate.repository.path, {"branch": "absent"}, ["no branch 'absent'"]),
        (private, {"deploy_key": make_key_pair()[0]}, ["refused", "Add the project's deploy key"]),
        ("ssh://deploy@localhost/absent.git", {"deploy_key": vps.private_key}, ["no git repository at"]),
        ("https://localhost:9/x.git", {}, ["cannot reach the repository's host"]),
        ("https://no-such-host.invalid/x.git", {}, ["cannot reach the repository's host", "DNS"]),
    ]
    estate.commit("before")
    sites = [estate.site(f"case-{number}") for number in range(len(cases))]
    for deployment in [site.request() for site in sites]:
        assert deployer.wait_ended(deployment).status == "success"
    requests = []
    for site, (repository, given, _) in zip(sites, cases, strict=True):
        slug, branch = site.environment.name, given.pop("branch", "main")
        project = deployer.add_project(slug, repository, **given)
        deployer.remove(site.environment)  # whose folder the next one takes over
        vps.run(f"rm {site.root}/.devflow/owner")
        moved = deployer.add_environment(project, "production", branch=branch, servers=[vps.name], root=site.root)
        other = Site(deployer, moved, [vps], site.root, "")
        requests.append((other, other.request()))
    for (site, deployment), (_, _, words) in zip(requests, cases, strict=True):
        site.check(deployer.wait_ended(deployment), status="failed", serves="before", error=words)


def test_a_host_of_the_repository_that_falls_silent(estate: Estate, vps: Vps, deployer: Deployer) -> None:
    """In the middle of a fetch, which everybody else who wants the repository on this server waits for."""
    private, public = make_key_pair()
    vps.run("cat >>~/.ssh/authorized_keys", stdin=f'command="kill -STOP $PPID; sleep 99" {public}\n')
    project = deployer.add_project("silent", f"deploy@localhost:{estate.repository.path}", deploy_key=private)
    environment = deployer.add_environment(project, "production", servers=[vps.name], root="/srv/www/silent")
    try:
        ended = deployer.deploy(environment, timeout_seconds=120)
    finally:
        vps.run("sed -i '/^command=/d' ~/.ssh/authorized_keys; pkill -CONT -x sshd-session", check=False)
    assert (ended.status, "cannot reach the repository's host" in ended.error) == ("failed", True), ended.error


def test_a_commit_that_is_not_there(site: Site) -> None:
    commit = "0123456789" * 4
    error = [f"There is no commit {commit}", "Push it first"]
    site.check(site.deploy(commit=commit), status="failed", serves="before", error=error)


def test_a_private_repository_with_its_deploy_key(estate: Estate, vps: Vps, deployer: Deployer) -> None:
    estate.commit("by key")
    project = deployer.add_project("by-key", f"deploy@localhost:{estate.repository.path}", deploy_key=vps.private_key)
    environment = deployer.add_environment(project, "production", servers=[vps.name], root="/srv/www/by-key")
    site = Site(deployer, environment, [vps], "/srv/www/by-key", "")
    site.check(site.deploy(), status="success", serves="by key")
    assert vps.run("grep -rl 'PRIVATE KEY' ~/.devflow", check=False).stdout == ""


def test_a_submodule(estate: Estate, vps: Vps, tmp_path: Path) -> None:
    part = GitRepository.on_server(vps, "/home/deploy/part.git", tmp_path)
    commit = part.commit({"part.html": "the part"})
    site = estate.site("submodule")
    estate.commit("with a part")
    with_submodule(estate.repository, vps, commit)
    site.check(site.deploy(), status="success", serves="with a part")
    assert site.page(path="part/part.html") == "the part"
    assert vps.run(f"find -L {site.root}/current -name .git").stdout == ""
    vps.run("mv /home/deploy/part.git /home/deploy/gone.git && rm -rf ~/.devflow/repos")
    error = ["A submodule could not be fetched"]
    site.check(site.deploy(), status="failed", serves="with a part", error=error)


def with_submodule(repository: GitRepository, vps: Vps, commit: str) -> None:
    """The head of the repository gets the submodule `part`, on the server itself."""
    work = "/home/deploy/work"
    identity = "-c user.name=Ada -c user.email=ada@example.test -c protocol.file.allow=always"
    vps.run(
        f"rm -rf {work} && git clone -q {repository.path} {work} && cd {work} && "
        f"git {identity} submodule --quiet add ../part.git part && git {identity} commit -qm part && "
        f"git push -q && rm -rf {work}"
    )


def test_files_in_git_lfs(estate: Estate, vps: Vps, deployer: Deployer, site: Site) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 5\n"
    attributes = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
    estate.repository.commit({".gitattributes": attributes, "big.bin": pointer}, branch="lfs")
    deployer.change(site.environment, branch="lfs")
    error = ["Git LFS", "no git-lfs", "apt-get install git-lfs"]
    site.check(site.deploy(), status="failed", serves="before", error=error)


# --- servers ----------------------------------------------------------------------------------------------------------


def test_a_program_is_missing(site: Site, estate: Estate, vps: Vps, deployer: Deployer) -> None:
    with Without(vps, "git"):
        error = [f"git is not installed on {vps.name}", "apt-get install git"]
        site.check(site.deploy(), status="failed", serves="before", error=error)
    estate.repository.commit({"composer.json": "{}", "index.html": "before"}, branch="php")
    deployer.remove(site.environment)  # whose folder the next one takes over
    vps.run(f"rm {site.root}/.devflow/owner")
    project = deployer.add_project("php-less", estate.repository.path, recipe="php")
    environment = deployer.add_environment(project, "production", branch="php", servers=[vps.name], root=site.root)
    other = Site(deployer, environment, [vps], site.root, "")
    with Without(vps, "php"):
        error = [f"php is not installed on {vps.name}", "'composer install' needs it", "apt-get install php-cli"]
        other.check(other.deploy(), status="failed", serves="before", error=error)


class Without:
    """Meanwhile the server has no such program."""

    def __init__(self, vps: Vps, program: str) -> None:
        self._vps, self._path = vps, f"/usr/bin/{program}"

    def __enter__(self) -> None:
        self._vps.run(f"mv {self._path} {self._path}.away", user="root")

    def __exit__(self, *_: object) -> None:
        self._vps.run(f"mv {self._path}.away {self._path}", user="root")


def test_a_disk_that_is_full(make_vps: Callable[..., Vps], deployer: Deployer, tmp_path: Path) -> None:
    server = make_vps(tmpfs={"/srv/www": "size=100m,uid=1000"})
    estate = Estate(deployer, [server], tmp_path)
    estate.commit("before")
    site = estate.site("full")
    site.deploy()
    deployer.change(site.environment, phase_commands={"prepare": ["head -c 200000000 /dev/zero >big"]})
    error = [server.name, "step 'prepare command 1' failed", "No space left on device", "free some space"]
    site.check(site.deploy(), status="failed", serves="before", error=error)

    estate.repository.commit({"index.html": "big", "big": bytes(60_000_000)})
    server.run(f"head -c 45000000 /dev/zero >{site.root}/shared/ballast")
    error = [server.name, "could not be written", "Disk: "]
    site.check(site.deploy(), status="failed", serves="before", error=error)

    server.run(f"head -c 20000000 /dev/zero >{site.root}/shared/more")
    error = [server.name, "MB are free in /srv/www", "needs 50 MB", "Free some space"]
    site.check(site.deploy(), status="failed", serves="before", error=error)

    server.run(f"head -c 200000000 /dev/zero >{site.root}/shared/most", check=False)
    deployment = site.deploy()
    assert (deployment.status, site.page()) == ("failed", "before")
    server.run(f"rm {site.root}/shared/more {site.root}/shared/most {site.root}/shared/ballast")
    estate.repository.commit({"index.html": "after", "big": None})
    deployer.change(site.environment, phase_commands={})
    site.check(site.deploy(), status="success", serves="after")


def test_a_home_that_is_full_or_cannot_be_written(
    make_vps: Callable[..., Vps], deployer: Deployer, tmp_path: Path
) -> None:
    server = make_vps(tmpfs={"/home/deploy": "size=60m,uid=1000,mode=750"})
    estate = Estate(deployer, [server], tmp_path)
    estate.commit("before")
    site = estate.site("home")
    site.check(site.deploy(), status="success", serves="before")

    server.run("head -c 70000000 /dev/zero >~/ballast", check=False)
    error = [server.name, "home", "free some space"]
    site.check(site.deploy(), status="failed", serves="before", error=error)
    server.run("cat /dev/zero >~/rest", check=False)  # not one block: nothing can be noted there either
    error.append("the next one ends what may have begun there")
    site.check(site.deploy(), status="failed", serves="before", error=error)
    server.run("rm ~/ballast ~/rest")

    server.run("chown -R root:root /home/deploy/.devflow && chmod -R a-w /home/deploy/.devflow", user="root")
    deployment = site.deploy()
    assert (deployment.status, site.page()) == ("failed", "before")
    for words in (server.name, "home", "cannot be written", "make the home writable"):
        assert words in deployment.error
    server.run("chown -R deploy:deploy /home/deploy/.devflow && chmod -R u+w /home/deploy/.devflow", user="root")
    site.check(site.deploy(), status="success", serves="before")


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_home_that_is_full_for_a_moment(
    make_vps: Callable[..., Vps], deployer: Deployer, tmp_path: Path, is_cancelled: bool
) -> None:
    """What the run writes to its journal meanwhile is written all the same, and it goes on, or is taken back."""
    home = {"/home/deploy": "size=60m,uid=1000,mode=750"}
    servers = sorted((make_vps(tmpfs=home) for _ in range(2)), key=lambda server: server.name)
    estate = Estate(deployer, servers, tmp_path)
    estate.commit("before")
    site = estate.site("moment")
    site.check(site.deploy(), status="success", serves="before")
    estate.commit("after")
    site.hold("reload")
    deployment = site.request()
    deployer.wait(deployment, lambda _: all(site.ran(deployment, it)[-1:] == ["reload"] for it in servers), 30)
    full = servers[1]
    journal = f"$HOME/.devflow/runs/{deployment.pk.hex}-*-1-forward/log"
    full.run(f"for log in {journal}; do yes | head -c $((4096 - $(wc -c <$log) % 4096)) >>$log; done")
    fill = "while :; do cat /dev/zero >>~/ballast; done"  # not one block is left, and the journal's last one is full
    full.run(f"(timeout 5 sh -c '{fill}'; rm ~/ballast) </dev/null >/dev/null 2>&1 &")
    wait_until(lambda: full.run("df --output=avail ~ | tail -n 1").stdout.strip() == "0", 5)
    if is_cancelled:
        deployer.cancel(deployment)
    full.run(f"rm -f {site.notes}/hold-*")
    site.let_go()
    deployer.wait_ended(deployment, 60)
    site.check(
        deployment, status="cancelled" if is_cancelled else "success", serves="before" if is_cancelled else "after"
    )


def test_a_root_that_belongs_to_somebody_else(site: Site, vps: Vps) -> None:
    vps.run(f"chown root {site.root} {site.root}/releases && chmod 755 {site.root} {site.root}/releases", user="root")
    error = [f"deploy may not write {site.root} on {vps.name}", f"sudo chown -R deploy {site.root}"]
    deployment = site.deploy()
    assert (deployment.status, site.page()) == ("failed", "before")
    for words in error:
        assert words in deployment.error
    vps.run(f"chown deploy {site.root} {site.root}/releases", user="root")
    vps.run(f"rm {site.root}/current && mkdir {site.root}/current")
    deployment = site.deploy()
    assert "is a folder or file, not a link" in deployment.error


def test_a_clock_that_is_ten_minutes_off(site: Site, estate: Estate, vps: Vps, deployer: Deployer) -> None:
    vps.set_clock(-600)
    try:
        estate.commit("after")
        deployment = site.check(site.deploy(), status="success", serves="after")
        back = deployer.wait_ended(deployer.roll_back(site.environment))
        site.check(back, status="success", serves="before")
    finally:
        vps.set_clock(0)
    steps = deployer.steps(deployment)
    assert all(step.duration_seconds is None or 0 <= step.duration_seconds < 60 for step in steps)
    started = [step.started_at for step in steps if step.started_at]
    assert deployment.started_at <= min(started) <= max(started) <= deployment.finished_at


def test_two_panels_deploy_to_the_same_folder(site: Site, vps: Vps, deployer: Deployer, tmp_path: Path) -> None:
    other_panel = Deployer(tmp_path / "other").start()
    try:
        other_panel.start_worker()
        other_panel.add_server(vps)
        project = other_panel.add_project("rival", site.environment.project.repository)
        rival = other_panel.add_environment(project, "production", servers=[vps.name], root=site.root)
        deployer.use()
        site.hold("migrate")
        deployment = site.request()
        deployer.wait_for_step(deployment, "migrate command 1")
        other_panel.use()
        owner = f"{site.root}/.devflow/owner"
        before = vps.run(f"ls -l {site.root} {site.root}/releases; cat {owner}").stdout
        lost = other_panel.deploy(rival)
        assert lost.status == "failed"
        for words in (vps.name, site.root, "another environment's folder", site.environment.pk.hex, f"rm {owner}"):
            assert words in lost.error
        assert vps.run(f"ls -l {site.root} {site.root}/releases; cat {owner}").stdout == before
        vps.run(f"rm {owner}")  # as on a site of an earlier version
        lost = other_panel.deploy(rival)
        assert lost.status == "failed"
        for words in (vps.name, site.root, "locked by another deployment", str(site.environment)):
            assert words in lost.error
        deployer.use()
        site.let_go()
        deployer.wait_ended(deployment)
        site.check(deployment, status="success", serves="before")
        assert site.deploy().status == "success"
        assert vps.run(f"cat {owner}").stdout == f"{site.environment.pk.hex}\n"
    finally:
        other_panel.stop()
        deployer.use()


def refused(field: str, action: Callable[[], object]) -> None:
    """The action raises InvalidError, which names the field and says what would do."""
    with pytest.raises(InvalidError) as caught:
        action()
    assert field in caught.value.errors or len(caught.value.errors) == 1
    assert len(str(caught.value)) < 300
