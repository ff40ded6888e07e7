"""Fetching and laying out a commit, with real git and real repositories of this machine."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devflow.commands import git
from devflow.engine.script import RunSecrets
from tests.support.gitrepo import GitRepository
from tests.support.machine import Machine, Ran

LOST = "0" * 40
SLOW_CONFIG = """\
#!/bin/sh
case " $* " in *" config "*)
  lock=${{1#--git-dir=}}/config.lock
  (set -C; : >"$lock") || exit 255
  sleep 0.1
  rm "$lock"
esac
exec {git} "$@"
"""


@pytest.fixture
def origin(machine: Machine) -> GitRepository:
    return GitRepository.local(machine.folder / "origin.git", machine.folder / "work")


def deploy(machine: Machine, **settings: str) -> Ran:
    return machine.run(git.FETCH, git.CHECKOUT, **settings)


def mirror(machine: Machine) -> Path:
    (found,) = (machine.home / ".devflow/repos").glob("*.git")
    return found


def laid_out(machine: Machine) -> dict[str, str]:
    folder = machine.root / "releases" / "r2"
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_head_of_a_branch_is_laid_out_without_its_history(machine: Machine, origin: GitRepository) -> None:
    commit = origin.commit({"index.html": "hello", "a folder/it's.txt": "x"}, message="Say “hello”")
    ran = deploy(machine)
    assert ran.code == 0
    assert laid_out(machine) == {"REVISION": f"{commit}\n", "a folder/it's.txt": "x", "index.html": "hello"}
    assert ran.notes("commit") == [f"{commit}\tAda Example <ada@example.test>\tSay “hello”"]
    assert ran.lines == [f"Commit {commit} from main"]


def test_an_older_commit(machine: Machine, origin: GitRepository) -> None:
    first = origin.commit({"index.html": "1"})
    origin.commit({"index.html": "2"})
    assert deploy(machine, commit=first).code == 0
    assert laid_out(machine)["index.html"] == "1"


def test_what_a_killed_git_has_left_locked_is_fetched(machine: Machine, origin: GitRepository) -> None:
    """A server that is switched off while git writes the branch leaves git's lock, which nobody else would remove."""
    origin.commit({"index.html": "1"})
    deploy(machine)
    (mirror(machine) / "refs/devflow/main.lock").touch()
    origin.commit({"index.html": "2"})
    assert deploy(machine).code == 0
    assert laid_out(machine)["index.html"] == "2"


@pytest.mark.parametrize("other", [False, True], ids=["the only branch", "another branch moved on"])
def test_what_a_killed_git_has_fetched_in_part_is_fetched(machine: Machine, origin: GitRepository, other: bool) -> None:
    origin.commit({"index.html": "1"})
    assert deploy(machine).code == 0
    commit = origin.commit({"index.html": "2"})
    if other:
        origin.commit({"index.html": "3"})
    name = f"objects/{commit[:2]}/{commit[2:]}"
    (mirror(machine) / name).parent.mkdir(exist_ok=True)
    shutil.copy(Path(origin.path) / name, mirror(machine) / name)  # the commit, but none of its files
    ran = deploy(machine, commit=commit)
    assert (ran.code, ran.explained) == (0, "")
    assert laid_out(machine)["index.html"] == "2"


def test_what_a_server_without_power_has_lost_is_fetched_anew(machine: Machine, origin: GitRepository) -> None:
    first = origin.commit({"index.html": "1"})
    assert deploy(machine).code == 0
    for file in (mirror(machine) / "objects").rglob("*"):
        if file.is_file():
            file.chmod(0o600)
            file.write_text("")
    second = origin.commit({"index.html": "2"})
    ran = deploy(machine, commit=second)
    assert (ran.code, ran.explained) == (0, "")
    assert "The copy of the repository on web1 is damaged; it is fetched anew" in ran.lines
    assert laid_out(machine)["index.html"] == "2"
    assert deploy(machine, commit=first).code == 0
    assert laid_out(machine)["index.html"] == "1"


def test_a_commit_that_was_pushed_over_while_it_was_deployed(machine: Machine, origin: GitRepository) -> None:
    """Another server asked for the head later than this one, and a plain sshd gives nothing but heads."""
    first, commit, head = (origin.commit({"index.html": name}) for name in "123")
    move = f"--git-dir={origin.path} update-ref refs/heads/main"
    subprocess.run(["git", *move.split(), first], check=True)
    real = shutil.which("git")
    machine.tool(
        "git", f'{real} -c protocol.version=0 "$@" && case " $* " in *" fetch "*) {real} {move} {head} ;; esac'
    )
    ran = deploy(machine, commit=commit)
    assert (ran.code, ran.explained) == (0, "")
    assert laid_out(machine)["index.html"] == "2"


def test_a_known_commit_is_not_fetched_again(machine: Machine, origin: GitRepository) -> None:
    commit = origin.commit({"index.html": "1"})
    machine.run(git.FETCH)
    shutil.move(origin.path, f"{origin.path}.away")
    Path(origin.path).mkdir()
    assert machine.run(git.FETCH, commit=commit).code == 0


def test_several_may_fetch_for_the_first_time_at_once(machine: Machine, origin: GitRepository) -> None:
    commit = origin.commit({"index.html": "1"})
    slow_disk = machine.tools / "git"  # git holds its configuration's lock for long, as where the disk is busy
    slow_disk.write_text(SLOW_CONFIG.format(git=shutil.which("git")))
    slow_disk.chmod(0o755)
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda number: machine.run(git.FETCH, deployment=f"d{number}"), range(8)))
    assert [(ran.code, ran.lines) for ran in runs] == [(0, [f"Commit {commit} from main"])] * 8
    (mirror,) = (machine.home / ".devflow" / "repos").iterdir()
    shown = subprocess.run(["git", "config", "gc.auto"], cwd=mirror, capture_output=True, text=True, check=True)
    assert shown.stdout == "0\n"


def test_executable_files_stay_so(machine: Machine, origin: GitRepository) -> None:
    origin.commit({"artisan": "#!/bin/sh\n"}, executable=["artisan"])
    deploy(machine)
    assert (machine.root / "releases" / "r2" / "artisan").stat().st_mode & 0o111


def test_a_branch_named_like_a_command_is_a_branch(machine: Machine, origin: GitRepository) -> None:
    branch = "$(touch${IFS}pwned);it's"
    commit = origin.commit({"index.html": "x"}, branch=branch)
    assert deploy(machine, branch=branch).notes("commit")[0].startswith(commit)
    assert not list(machine.folder.rglob("pwned"))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"branch": "gone"}, "The repository has no branch 'gone'"),
        ({"commit": LOST}, f"There is no commit {LOST} in the repository."),
        ({"repository": "/nowhere/shop.git"}, "There is no repository /nowhere/shop.git on web1."),
        ({"repository": "file:///nowhere/shop.git"}, "There is no repository /nowhere/shop.git on web1."),
        ({"repository": "/usr"}, "There is no git repository at /usr, as web1 sees it."),
    ],
)
def test_what_cannot_be_fetched_is_explained(
    machine: Machine, origin: GitRepository, settings: dict[str, str], reason: str
) -> None:
    origin.commit({"index.html": "x"})
    ran = machine.run(git.FETCH, **settings)
    assert ran.code == 1
    assert ran.explained.startswith(reason)


def test_a_repository_of_another_user_is_explained(machine: Machine, origin: GitRepository) -> None:
    origin.commit({"index.html": "1"})
    machine.tool("git", f'GIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {shutil.which("git")} "$@"')
    ran = deploy(machine)
    assert ran.code == 1
    assert ran.explained.startswith(f"git refuses to read {origin.path}: it belongs to another user")
    assert f"git config --global --add safe.directory {origin.path}" in ran.explained


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            ["fatal: the reason", "", "Please make sure you have the rights", "and the repository exists."],
            "fatal: the reason",
        ),
        (["warning: x", "ERROR: Not allowed.", "fatal: Could not read from remote repository."], "ERROR: Not allowed."),
        (["words of something else"], "words of something else"),
    ],
)
def test_what_git_says_first_is_the_reason(machine: Machine, origin: GitRepository, said: list[str], told: str) -> None:
    origin.commit({"index.html": "1"})
    words = "\n".join(said)
    real = shutil.which("git")
    machine.tool("git", f"case \" $* \" in *' fetch '*) echo '{words}' >&2; exit 128 ;; esac\nexec {real} \"$@\"")
    assert deploy(machine).explained == f"git could not fetch 'main' from {origin.path}: {told}"


def test_an_empty_repository_is_explained(machine: Machine, origin: GitRepository) -> None:
    assert origin.path
    ran = machine.run(git.FETCH)
    assert (ran.code, "an empty repository has none at all" in ran.explained) == (1, True)


def test_the_deploy_key_is_given_to_ssh_in_a_file_for_its_owner_only(machine: Machine) -> None:
    machine.secrets = RunSecrets(deploy_key="-----BEGIN KEY-----\nabc\n-----END KEY-----\n")
    seen = machine.folder / "seen"
    machine.tool(
        "ssh", f'stat -c %a "$2" >{seen}; cat "$2" >>{seen}; echo "Permission denied (publickey)." >&2; exit 255'
    )
    ran = machine.run(git.FETCH, repository="git@host.invalid:team/shop.git")
    assert seen.read_text() == "600\n-----BEGIN KEY-----\nabc\n-----END KEY-----\n"
    assert ran.explained.startswith("The repository refused web1. Add the project's deploy key")
    assert not list(machine.home.rglob("deploy_key"))


def test_submodules_are_laid_out_too_with_the_same_key(machine: Machine, origin: GitRepository) -> None:
    library = GitRepository.local(machine.folder / "library.git", machine.folder / "library")
    library.commit({"lib.txt": "from the library"})
    work = machine.folder / "work"
    subprocess.run(
        ["git", "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", library.path, "lib"],
        cwd=work, env={**machine.environment()}, check=True,
    )  # fmt: skip
    # reached over ssh by the server: the stand-in runs what git asks for on this machine
    (work / ".gitmodules").write_text(f'[submodule "lib"]\n\tpath = lib\n\turl = ssh://host.invalid{library.path}\n')
    origin.commit({"index.html": "x"})
    machine.secrets = RunSecrets(deploy_key="key\n")
    machine.tool("ssh", '[ "$1" = -i ] && [ -s "$2" ] || exit 255; for last; do :; done; exec sh -c "$last"')
    ran = deploy(machine)
    assert (ran.code, ran.explained) == (0, "")
    assert laid_out(machine)["lib/lib.txt"] == "from the library"
    assert not any(name.startswith(".git/") for name in laid_out(machine))


def test_large_files_without_git_lfs_are_explained(machine: Machine, origin: GitRepository) -> None:
    if shutil.which("git-lfs"):
        pytest.skip("git-lfs is installed on this machine: its absence cannot be tried")
    origin.commit({".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "a.bin": "x"})
    ran = deploy(machine)
    assert (ran.code, "web1 has no git-lfs" in ran.explained) == (1, True)


def test_a_release_that_cannot_be_written_is_explained(machine: Machine, origin: GitRepository) -> None:
    origin.commit({"index.html": "x"})
    machine.tool("tar", "cat >/dev/null; echo 'tar: No space left on device' >&2; exit 2")
    ran = deploy(machine)
    assert ran.code == 1
    assert ran.explained.startswith(
        f"The files of the commit could not be written to {machine.root}/releases/r2 on web1"
    )


def test_a_commit_that_cannot_be_read_stops_the_checkout(machine: Machine, origin: GitRepository) -> None:
    origin.commit({"index.html": "x"})
    machine.run(git.FETCH)
    machine.tool("git", 'case " $* " in *" archive "*) exit 128 ;; esac; exec /usr/bin/git "$@"')
    assert deploy(machine).code == 1


def test_the_top_of_the_tree_is_listed(machine: Machine, origin: GitRepository) -> None:
    origin.commit({"artisan": "", "composer.json": "{}", "app/a.php": "", "späße": ""})
    ran = machine.run(git.FETCH, git.list_files(("composer.json",), 99))
    assert ran.notes("file")[:3] == ["app", "artisan", "composer.json"]
