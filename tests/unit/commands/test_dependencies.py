"""What tasks have made, kept and taken over, in real shells with small programs in place of the real ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from devflow.commands import dependencies, releases
from devflow.engine.plan import Plan, place
from devflow.engine.script import RunSecrets
from devflow.engine.task import Phase, Reuse, Task
from tests.support.machine import Machine, Ran

INSTALL = Task(
    name="install",
    phase=Phase.PREPARE,
    command="fakepm install",
    undo="thrown away",
    reuse=Reuse(
        told="the lock file and fakepm",
        folders=("vendor", "**/modules"),
        inputs=("fake.lock", "patches", "extra*.txt"),
        tools=("fakepm version",),
        when="[ -f fake.lock ]",
        after="",
    ),
)
BUILD = Task(
    name="build",
    phase=Phase.PREPARE,
    command="fakepm build",
    undo="thrown away",
    reuse=Reuse(told="all files", after=""),
)
# Installs what fake.lock says and counts its runs; `build` makes assets of sources and modules, and removes a file.
FAKEPM = """
echo "$1" >>"$COUNT"
case $1 in
  version) echo "$FAKE_VERSION" ;;
  install)
    [ ! -e fail ] || { mkdir -p vendor; echo half >vendor/half; exit 9; }
    mkdir -p vendor/lib vendor/bin modules packages/a/modules "vendor/it's a dir"
    cat fake.lock >vendor/lib/version; echo "for $NODE_ENV" >vendor/lib/made; : >"vendor/it's a dir/late
file"
    printf '#!%s/vendor/bin/x\\n' "$PWD" >vendor/bin/tool; chmod 750 vendor/bin/tool; ln -sfn tool vendor/bin/link
    ln -sfn "$PWD/vendor/lib" vendor/absolute; ln -sfn ../../source vendor/lib/up
    echo one >modules/one; echo two >packages/a/modules/two ;;
  build)
    mkdir -p public/build; cat source vendor/lib/version >public/build/app.js; echo page >index.html; rm -f old.html
    echo changed >vendor/lib/made; mkdir -p modules/.cache node_modules/.cache; echo x >node_modules/.cache/x ;;
  complete) echo "completed in ${PWD##*/}" >completed; [ ! -e incomplete ] || exit 3 ;;
esac
"""


@pytest.fixture
def server(machine: Machine) -> Server:
    return Server(machine)


class Server:
    """A machine that deploys releases, one after the other."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.count = machine.folder / "count"
        self.variables = {"COUNT": str(self.count), "FAKE_VERSION": "1.0", "NODE_ENV": "production"}
        machine.tool("fakepm", FAKEPM)
        for name in (".devflow", "shared"):
            (machine.root / name).mkdir()

    def deploy(
        self,
        release: str,
        *tasks: Task,
        lock: str | None = "lock 1",
        is_clean: bool = False,
        options: dict[str, str] | None = None,
        **files: str,
    ) -> Ran:
        """Runs the tasks in a new release with these files; what ran is in `ran` after it."""
        self.machine.secrets = RunSecrets(variables=self.variables)
        self.count.unlink(missing_ok=True)
        folder = self.machine.release(release, source="source", **files)
        (folder / "packages" / "a").mkdir(parents=True)
        (folder / "old.html").write_text("old")
        if lock is not None:
            (folder / "fake.lock").write_text(lock)
        return self.carry_out(release, *tasks, is_clean=is_clean, options=options)

    def carry_out(
        self, release: str, *tasks: Task, is_clean: bool = False, options: dict[str, str] | None = None
    ) -> Ran:
        site = self.machine.site(options=options)
        steps = place(site, tasks or (INSTALL,))
        plan = Plan("atomic", "small", release, "", False, site, steps, is_clean=is_clean)
        self.lock(f"d{release[1:]}")
        return self.machine.carry_out(plan, plan.groups[0], deployment=f"d{release[1:]}")

    def lock(self, deployment: str) -> None:
        """The site's lock is that deployment's."""
        (self.machine.root / ".devflow" / "lock").write_text(f"e0e0e0e0 {deployment} shop production\n")

    def prune(self, *, keep: int = 3) -> Ran:
        return self.machine.run(releases.PRUNE + dependencies.PRUNE, keep=keep)

    @property
    def ran(self) -> list[str]:
        """What the programs were asked for, without their version."""
        return [word for word in self.count.read_text().split() if word != "version"] if self.count.exists() else []

    @property
    def kept(self) -> list[Path]:
        folder = self.machine.root / ".devflow" / "kept"
        return sorted(folder.iterdir()) if folder.exists() else []

    def folder(self, release: str) -> Path:
        return self.machine.root / "releases" / release


def tree(folder: Path, release: str) -> dict[str, object]:
    """Everything below a folder: modes, links, contents; the release's own name is left out."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink()).replace(f"/{release}/", "/R/")
        elif path.is_file():
            text = path.read_text().replace(f"/{release}/", "/R/")
            found[name] = (path.stat().st_mode & 0o777, "" if name == "fail" else text)
        else:
            found[name] = path.stat().st_mode & 0o777
    return found


# --- hits and misses --------------------------------------------------------------------------------------------------


def test_the_same_inputs_are_installed_once(server: Server) -> None:
    first = server.deploy("r1")
    assert (first.code, server.ran, first.notes("reused")) == (0, ["install"], [])
    second = server.deploy("r2")
    assert (second.code, server.ran, second.notes("reused")) == (0, [], ["0"])
    assert second.lines == ["Reused vendor, modules: the lock file and fakepm are unchanged."]
    assert tree(server.folder("r2"), "r2") == tree(server.folder("r1"), "r1")
    assert (server.folder("r2") / "packages" / "a" / "modules" / "two").read_text() == "two\n"


CHANGES = {
    "lock": lambda server: server.deploy("r2", lock="lock 2"),
    "patch": lambda server: server.deploy("r2", patches="a patch"),
    "pattern": lambda server: server.deploy("r2", **{"extra 1.txt": "more"}),
    "version": lambda server: server.variables.update(FAKE_VERSION="1.1"),
    "variable": lambda server: server.variables.update(NODE_ENV="development"),
    "command": lambda server: server.deploy("r2", replace(INSTALL, command="fakepm install; :")),
    "option": lambda server: server.deploy("r2", options={"php_version": "8.4"}),
    "env file": lambda server: server.deploy("r2", **{".env": "KEY=value\n"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_decides_leads_to_a_new_install(server: Server, change: str) -> None:
    server.deploy("r1")
    if CHANGES[change](server) is None:
        server.deploy("r2")
    assert server.ran == ["install"]
    assert len(server.kept) == 2


def test_a_lock_file_that_changes_back_and_forth_hits_again(server: Server) -> None:
    for number, lock_text in enumerate(["a", "b", "a", "b", "a"], 1):
        server.deploy(f"r{number}", lock=lock_text)
        assert server.ran == (["install"] if number < 3 else [])
        assert (server.folder(f"r{number}") / "vendor/lib/version").read_text() == lock_text


def test_without_a_lock_file_everything_is_installed_each_time(server: Server) -> None:
    for number in (1, 2):
        assert server.deploy(f"r{number}", lock=None).code == 0
        assert server.ran == ["install"]
    assert server.kept == []


def test_clean_ignores_what_is_kept_and_replaces_it(server: Server) -> None:
    server.deploy("r1")
    (entry,) = server.kept
    (entry / "files/modules/one").write_text("bad")
    clean = server.deploy("r2", is_clean=True)
    assert (server.ran, clean.notes("reused"), clean.lines) == (["install"], [], ["Made anew, as asked for."])
    server.deploy("r3")
    assert (server.ran, (server.folder("r3") / "modules/one").read_text()) == ([], "one\n")
    assert server.kept == [entry]


# --- what is not kept -------------------------------------------------------------------------------------------------


def test_a_failed_install_is_not_kept_and_its_exit_code_is_that_of_the_tool(server: Server) -> None:
    failed = server.deploy("r1", fail="")
    assert (failed.code, server.kept) == (9, [])
    assert server.deploy("r2").code == 0
    assert server.ran == ["install"]
    assert not (server.folder("r2") / "vendor/half").exists()


@pytest.mark.parametrize("tool", ["cp", "mv", "du", "sha256sum"])
def test_a_failure_to_keep_is_told_and_harms_nothing(server: Server, tool: str) -> None:
    server.machine.tool(tool, f'echo "{tool}: No space left on device" >&2; exit 1')
    ran = server.deploy("r1")
    (server.machine.tools / tool).unlink()
    assert (ran.code, server.ran) == (0, ["install"])
    if tool in ("cp", "mv"):
        assert "What 'install' made is not kept for later releases; this one has it." in ran.lines
        assert server.kept == []
    server.deploy("r2")
    assert tree(server.folder("r2"), "r2") == tree(server.folder("r1"), "r1")


def test_nothing_is_kept_where_it_would_fill_the_disk(server: Server) -> None:
    server.machine.tool("df", "printf 'Filesystem x\\n/dev/sda 1 1 90000 99%% /srv\\n'")
    ran = server.deploy("r1")
    assert "There is too little free space for it on the disk (87 MB)." in ran.lines
    assert (ran.code, server.kept) == (0, [])


def test_what_a_killed_run_left_half_kept_is_never_used(server: Server) -> None:
    server.machine.tool("xargs", 'case "$*" in *--parents*) kill -9 $PPID; sleep 1 ;; esac\nexec /usr/bin/xargs "$@"')
    server.deploy("r1")
    (server.machine.tools / "xargs").unlink()
    (half,) = server.kept
    assert half.name.startswith(".new.")
    assert server.deploy("r2").code == 0
    assert server.ran == ["install"]
    (whole,) = server.kept
    assert whole.name == half.name.removeprefix(".new.")


@pytest.mark.parametrize("harm", ["empty", "gone", "no sum", "no release"])
def test_what_is_damaged_is_made_anew_and_replaced(server: Server, harm: str) -> None:
    server.deploy("r1")
    (entry,) = server.kept
    if harm == "empty":
        (entry / "files/vendor/lib/version").write_text("")
    else:
        (entry / {"gone": "files/modules/one", "no sum": "sum", "no release": "release"}[harm]).unlink()
    ran = server.deploy("r2")
    assert (ran.code, server.ran, ran.notes("reused")) == (0, ["install"], [])
    assert tree(server.folder("r2"), "r2") == tree(server.folder("r1"), "r1")
    server.deploy("r3")
    assert server.ran == []


def test_a_folder_that_is_shared_by_all_releases_is_left_alone(server: Server) -> None:
    (server.machine.root / "shared/vendor").mkdir()
    for number in (1, 2):
        folder = server.machine.release(f"r{number}", **{"fake.lock": "lock 1"})
        (folder / "packages/a").mkdir(parents=True)
        (folder / "vendor").symlink_to(server.machine.root / "shared/vendor")
        server.machine.secrets = RunSecrets(variables=server.variables)
        assert server.carry_out(f"r{number}").notes("reused") == []
        assert (folder / "vendor").is_symlink()
    assert (server.ran, server.kept) == (["install", "install"], [])


def test_what_the_commit_brings_in_the_folder_counts(server: Server) -> None:
    for number, text in enumerate(["ours 1", "ours 2", "ours 1"], 1):
        folder = server.machine.root / "releases" / f"r{number}"
        (folder / "vendor/own").mkdir(parents=True)
        (folder / "vendor/own/code").write_text(text)
        (folder / "packages/a").mkdir(parents=True)
        (folder / "fake.lock").write_text("lock 1")
        server.machine.secrets = RunSecrets(variables=server.variables)
        ran = server.carry_out(f"r{number}")
        assert ran.notes("reused") == (["0"] if number == 3 else [])
        assert (folder / "vendor/own/code").read_text() == text


# --- one release cannot change another --------------------------------------------------------------------------------


def test_what_is_written_in_one_release_is_seen_in_no_other(server: Server) -> None:
    server.deploy("r1")
    server.deploy("r2")
    for path in [path for path in server.folder("r2").rglob("*") if path.is_file() and not path.is_symlink()]:
        with path.open("a") as file:
            file.write("written in place")
    server.deploy("r3")
    assert server.ran == []
    assert tree(server.folder("r3"), "r3") == tree(server.folder("r1"), "r1")
    files = [path for number in "123" for path in server.folder(f"r{number}").rglob("*") if path.is_file()]
    inodes = [path.stat().st_ino for path in files if not path.is_symlink() and "up" not in path.parts]
    assert all(path.stat().st_nlink == 1 for path in files)
    assert len(set(inodes)) >= 3 * 8


def test_paths_of_the_release_are_those_of_the_release_that_takes_over(server: Server) -> None:
    server.deploy("r1")
    server.deploy("r2")
    vendor = server.folder("r2") / "vendor"
    assert (vendor / "bin/tool").read_text() == f"#!{vendor}/bin/x\n"
    assert (vendor / "bin/tool").stat().st_mode & 0o777 == 0o750
    assert str((vendor / "absolute").readlink()) == f"{vendor}/lib"
    assert not [path for path in vendor.rglob("*") if path.is_file() and "releases/r1" in path.read_text()]


def test_a_name_of_another_length_is_not_written_into_files(server: Server) -> None:
    server.deploy("r1")
    server.deploy("r10")
    assert server.ran == ["install"]
    assert (server.folder("r10") / "vendor/bin/tool").read_text() == f"#!{server.folder('r10')}/vendor/bin/x\n"


def test_only_the_owner_sees_what_is_kept(server: Server) -> None:
    server.deploy("r1")
    folder = server.machine.root / ".devflow"
    assert [(folder / name).stat().st_mode & 0o777 for name in ("kept", "uses")] == [0o700, 0o700]
    assert server.folder("r1").stat().st_mode & 0o777 == 0o755
    server.deploy("r2")
    assert server.folder("r2").stat().st_mode & 0o777 == 0o755


# --- completing -------------------------------------------------------------------------------------------------------


def completing(after: str | None) -> Task:
    assert INSTALL.reuse
    return replace(INSTALL, reuse=replace(INSTALL.reuse, after=after))


def test_what_is_taken_over_is_completed_with_the_variables_of_the_environment(server: Server) -> None:
    task = completing('fakepm complete; printf %s "$NODE_ENV" >mode')
    server.deploy("r1", task)
    assert not (server.folder("r1") / "completed").exists()
    server.deploy("r2", task)
    assert server.ran == ["complete"]
    assert (server.folder("r2") / "completed").read_text() == "completed in r2\n"
    assert (server.folder("r2") / "mode").read_text() == "production"


def test_a_tool_that_goes_on_from_what_it_finds_is_run_again(server: Server) -> None:
    server.deploy("r1", completing(None))
    second = server.deploy("r2", completing(None))
    assert (server.ran, second.notes("reused")) == (["install"], ["0"])
    assert second.lines == ["Reused vendor, modules: the lock file and fakepm are unchanged; completing it."]


def test_what_cannot_be_completed_is_made_anew(server: Server) -> None:
    task = completing("fakepm complete")
    server.deploy("r1", task)
    ran = server.deploy("r2", task, incomplete="")
    assert (ran.code, server.ran, ran.notes("reused")) == (0, ["complete", "install"], [])
    assert "What was kept cannot be used: it is made anew." in ran.lines
    assert (server.folder("r2") / "vendor/lib/version").read_text() == "lock 1"


def test_a_script_that_fails_fails_the_step_also_with_what_was_kept(server: Server) -> None:
    server.deploy("r1", completing(None))
    ran = server.deploy("r2", completing(None), fail="")
    assert (ran.code, server.ran) == (9, ["install", "install"])
    assert server.deploy("r3", completing(None)).code == 0


# --- built files ------------------------------------------------------------------------------------------------------


def test_a_build_is_taken_over_whole_while_the_release_is_the_same(server: Server) -> None:
    server.deploy("r1", INSTALL, BUILD)
    second = server.deploy("r2", INSTALL, BUILD)
    assert (server.ran, second.notes("reused")) == ([], ["0", "1"])
    wanted = tree(server.folder("r1"), "r1")
    for cache in ("node_modules", "node_modules/.cache", "node_modules/.cache/x"):
        wanted.pop(cache)  # a cache is not what a build is for
    assert tree(server.folder("r2"), "r2") == wanted
    assert not (server.folder("r2") / "old.html").exists()
    assert (server.folder("r2") / "vendor/lib/made").read_text() == "changed\n"


@pytest.mark.parametrize("files", [{"REVISION": "another commit"}, {"app.css": "new"}, {".env": "VITE_NAME=x"}])
def test_a_build_is_made_anew_after_any_change(server: Server, files: dict[str, str]) -> None:
    server.deploy("r1", INSTALL, BUILD)
    server.deploy("r2", INSTALL, BUILD, **files)  # type: ignore[arg-type]
    assert "build" in server.ran


def test_a_build_is_made_anew_with_other_dependencies(server: Server) -> None:
    named = replace(BUILD, reuse=Reuse(told="the source", inputs=("source",), after=""))
    for number, lock_text in enumerate(["a", "b", "a"], 1):
        server.deploy(f"r{number}", INSTALL, named, lock=lock_text, REVISION=str(number))
        assert server.ran == (["install", "build"] if number < 3 else [])
        assert (server.folder(f"r{number}") / "public/build/app.js").read_text() == f"source{lock_text}"


def test_a_build_is_made_anew_while_nothing_says_which_dependencies_it_has(server: Server) -> None:
    assert INSTALL.reuse
    unlocked = replace(INSTALL, reuse=replace(INSTALL.reuse, when="false"))
    for number in (1, 2):
        server.deploy(f"r{number}", unlocked, BUILD)
        assert server.ran == ["install", "build"]


def test_a_build_does_not_write_through_links_into_what_is_shared(server: Server) -> None:
    build = replace(BUILD, command="rm -f asset; echo built >asset")
    shared = server.machine.root / "shared/asset"
    shared.write_text("shared")
    for number in (1, 2):
        folder = server.machine.release(f"r{number}")
        (folder / "asset").symlink_to(shared)
        server.machine.secrets = RunSecrets(variables=server.variables)
        server.carry_out(f"r{number}", build)
        assert (folder / "asset").read_text() == "built\n"
        assert shared.read_text() == "shared"


# --- pruning ----------------------------------------------------------------------------------------------------------


def serve(server: Server, release: str) -> None:
    current = server.machine.root / "current"
    current.unlink(missing_ok=True)
    current.symlink_to(f"releases/{release}")


def test_what_no_release_uses_is_removed_and_what_one_uses_stays(server: Server) -> None:
    server.deploy("r1", lock="a")
    server.deploy("r2", lock="a")
    server.deploy("r3", lock="b")
    serve(server, "r3")
    server.prune(keep=2)  # r1 goes; r2 has what it shared with it
    assert len(server.kept) == 2
    assert (server.folder("r2") / "vendor/lib/version").read_text() == "a"
    server.deploy("r4", lock="b")
    serve(server, "r4")
    server.prune(keep=2)
    (entry,) = server.kept
    assert (entry / "files/vendor/lib/version").read_text() == "b"
    assert sorted(path.name for path in (server.machine.root / ".devflow/uses").iterdir()) == ["r3", "r4"]


def test_pruning_removes_what_killed_runs_left(server: Server) -> None:
    server.deploy("r1")
    for name in (".new.1", ".old.1"):
        (server.machine.root / ".devflow/kept" / name).mkdir()
    serve(server, "r1")
    server.prune()
    assert len(server.kept) == 1


def test_a_site_that_keeps_nothing_is_pruned_as_before(server: Server) -> None:
    server.machine.release("r1")
    serve(server, "r1")
    assert server.prune().code == 0
    assert not (server.machine.root / ".devflow/uses").exists()


def throw_away(server: Server, release: str) -> Ran:
    return server.machine.run(releases.THROW_AWAY + dependencies.FORGET, release=release, deployment=f"d{release[1:]}")


def test_the_next_attempt_after_a_failure_is_quick(server: Server) -> None:
    server.deploy("r1", lock="a")
    server.deploy("r2", lock="b")
    throw_away(server, "r2")
    server.deploy("r3", lock="c")
    throw_away(server, "r3")
    assert len(server.kept) == 2  # of r1, and of the last that failed
    server.deploy("r4", lock="c")
    assert server.ran == []
    serve(server, "r4")
    server.prune()
    assert len(server.kept) == 2
    assert sorted(path.name for path in (server.machine.root / ".devflow/uses").iterdir()) == ["r1", "r4"]


def test_whoever_does_not_hold_the_lock_removes_nothing(server: Server) -> None:
    server.deploy("r1")
    (server.machine.root / ".devflow/kept/.new.1").mkdir()
    server.lock("another")
    throw_away(server, "r1")
    assert len(server.kept) == 2
