"""Release folders, on real folders and in real shells."""

from __future__ import annotations

import base64
import hashlib
import stat
import subprocess
from pathlib import Path

import pytest

from devflow.commands import lock, releases
from devflow.core import dotenv
from devflow.engine.script import RunSecrets
from tests.support.machine import Machine

NASTY = ["; rm -rf ~", "$(touch pwned)", "`touch pwned`", "it's", 'a "b"', "späße 日本", "-rf", "*", "a\\b", "x" * 200]


@pytest.fixture
def site(machine: Machine) -> Machine:
    """A site with the release r1 serving and r2 laid out beside it."""
    (machine.root / ".devflow").mkdir()
    (machine.root / "shared").mkdir()
    machine.release("r1")
    machine.release("r2")
    (machine.root / "current").symlink_to("releases/r1")
    return machine


def variables_of(site: Machine, release: str, text: str) -> None:
    folder = site.root / "shared" / ".env.d"
    folder.mkdir(exist_ok=True)
    (folder / release).write_text(text)


# --- checks -----------------------------------------------------------------------------------------------------------


def test_check_makes_the_folders(machine: Machine) -> None:
    assert machine.run(releases.CHECK).code == 0
    assert (machine.root / "releases").is_dir()
    assert (machine.root / "shared").is_dir()


def test_check_refuses_a_current_that_is_no_link(machine: Machine) -> None:
    (machine.root / "current").mkdir()
    ran = machine.run(releases.CHECK)
    assert ran.code == 1
    assert ran.explained.startswith(f"{machine.root}/current on web1 is a folder or file, not a link.")


def test_check_names_the_command_for_a_root_that_cannot_be_made(machine: Machine) -> None:
    machine.root.rmdir()
    machine.root.write_text("in the way")
    ran = machine.run(releases.CHECK)
    assert ran.code == 1
    assert "cannot be made or written on web1" in ran.explained
    assert f"sudo install -d -o $(id -un) {machine.root}" not in ran.explained  # the name is filled in
    assert str(machine.root) in ran.explained


def test_check_refuses_a_full_disk(machine: Machine) -> None:
    machine.tool("df", "printf 'Filesystem x\\n/dev/sda 1 1 2048 99%% /srv\\n/dev/sda 1 1 2048 99%% /srv\\n'")
    ran = machine.run(releases.CHECK)
    assert ran.code == 1
    assert "Only 2 MB are free in /srv on web1; a deployment needs 50 MB at least." in ran.explained


def test_a_kept_release_is_looked_for(site: Machine) -> None:
    assert site.run(releases.CHECK_KEPT, release="r1").code == 0
    gone = site.run(releases.CHECK_KEPT, release="r0")
    assert (gone.code, gone.explained[:26]) == (1, "The release r0 is not on w")


# --- activation and taking back ---------------------------------------------------------------------------------------


def test_activation_is_one_rename(site: Machine) -> None:
    assert site.run(releases.ACTIVATE, releases.VERIFY).code == 0
    assert site.current == "releases/r2"
    assert sorted(path.name for path in site.root.iterdir()) == [".devflow", "current", "releases", "shared"]


def test_undo_takes_the_release_before_back(site: Machine) -> None:
    ran = site.run(releases.ACTIVATE, releases.UNDO, releases.THROW_AWAY, lock.RELEASE)
    assert site.current == "releases/r1"
    assert ran.notes("took_back") == ["r1"]
    assert not (site.root / "releases" / "r2").exists()
    assert list((site.root / ".devflow").iterdir()) == []


def test_undo_of_the_first_release_leaves_nothing_served(machine: Machine) -> None:
    machine.run(releases.CHECK)
    (machine.root / ".devflow").mkdir()
    machine.release("r2")
    ran = machine.run(releases.ACTIVATE, releases.UNDO, releases.THROW_AWAY)
    assert (ran.code, machine.current, ran.notes("took_back")) == (0, "", ["nothing"])
    assert not (machine.root / "releases" / "r2").exists()


def test_undo_before_the_switch_changes_nothing_that_is_served(site: Machine) -> None:
    ran = site.run(releases.UNDO, releases.THROW_AWAY)
    assert (ran.code, site.current, ran.notes("took_back")) == (0, "releases/r1", [])
    assert not (site.root / "releases" / "r2").exists()


def test_undo_may_run_again(site: Machine) -> None:
    site.run(releases.ACTIVATE)
    for _ in range(3):
        assert site.run(releases.UNDO).code == 0
        assert site.current == "releases/r1"


def test_undo_leaves_what_another_deployment_is_about_to_rename(site: Machine) -> None:
    theirs = site.root / "current.next.other"
    theirs.symlink_to("releases/r1")
    ours = site.root / "current.next.d2"
    ours.symlink_to("releases/r2")
    site.run(releases.UNDO)
    assert theirs.is_symlink()
    assert not ours.is_symlink()


def test_undo_gives_back_a_link_that_another_tool_made(site: Machine) -> None:
    (site.root / "current").unlink()
    (site.root / "current").symlink_to(site.root / "releases" / "r1")
    site.run(releases.ACTIVATE, releases.UNDO)
    assert site.current == str(site.root / "releases" / "r1")


def test_a_release_that_serves_is_never_thrown_away(site: Machine) -> None:
    site.run(releases.ACTIVATE, releases.THROW_AWAY)
    assert (site.root / "releases" / "r2").is_dir()


def test_verification_sees_another_hand(site: Machine) -> None:
    ran = site.run(releases.VERIFY)
    assert (ran.code, "points to releases/r1, not to this release" in ran.explained) == (1, True)


# --- variables --------------------------------------------------------------------------------------------------------


def test_variables_are_written_for_their_owner_only(site: Machine) -> None:
    site.secrets = RunSecrets(variables={"KEY": "it's $HOME"})
    assert site.run(releases.write_variables()).code == 0
    written = site.root / "shared" / ".env.d" / "r2"
    assert written.read_text() == 'KEY="it\'s \\$HOME"\n'
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert (site.root / "releases" / "r2" / ".env").readlink() == written


@pytest.mark.parametrize("text", [*NASTY, "", "no newline", "two\nlines\n", "\n\n", "%s \\n", "-n"])
def test_variables_that_are_files_hold_exactly_their_text(site: Machine, text: str) -> None:
    site.secrets = RunSecrets(variables={"A": "1"}, files={"KEY_FILE": text})
    assert site.run(releases.write_variables()).code == 0
    folder = site.root / "shared" / ".env.d" / "r2.files"
    assert (folder / "KEY_FILE").read_text() == text
    assert (site.root / "shared" / ".env.d" / "r2").read_text() == f"A=1\nKEY_FILE={folder}/KEY_FILE\n"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "KEY_FILE")] == [0o700, 0o600]
    assert not list(site.folder.rglob("pwned"))


def test_files_of_variables_go_with_their_release(site: Machine) -> None:
    files = site.root / "shared" / ".env.d"
    site.secrets = RunSecrets(files={"KEY_FILE": "x"})
    for number in range(2, 6):
        if number > 2:
            site.release(f"r{number}")
        site.run(releases.write_variables(), release=f"r{number}")
    site.run(releases.ACTIVATE, release="r4")
    site.run(releases.THROW_AWAY, release="r5")
    assert sorted(path.name for path in files.glob("*.files")) == ["r2.files", "r3.files", "r4.files"]
    (site.root / ".devflow" / "before.d2").unlink()
    site.run(releases.PRUNE, release="r4", keep=2)
    assert sorted(path.name for path in files.glob("*.files")) == ["r3.files", "r4.files"]


def test_files_that_cannot_be_written_stop_the_step(site: Machine) -> None:
    site.secrets = RunSecrets(files={"KEY_FILE": "x"})
    site.tool(
        "mkdir", 'case "$*" in *.files) echo "No space left on device" >&2; exit 1 ;; *) exec /bin/mkdir "$@" ;; esac'
    )
    ran = site.run(releases.write_variables())
    assert (ran.code, "is the disk full?" in ran.explained) == (1, True)


def shown(site: Machine) -> list[str]:
    done = subprocess.run(
        ["sh", "-s", str(site.root)], input=releases.SHOW_VARIABLES, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split("\n")


def test_what_the_panel_wrote_is_shown_with_digests_of_its_files(site: Machine) -> None:
    site.secrets = RunSecrets(variables={"A": "it's"}, files={"KEY_FILE": "text"})
    site.run(releases.write_variables())
    site.run(releases.ACTIVATE)
    state, encoded, digest, *_ = shown(site)
    assert state == "panel"
    assert dotenv.parse(base64.b64decode(encoded).decode())["A"] == "it's"
    assert digest == f"{hashlib.sha256(b'text').hexdigest()}  KEY_FILE"


def test_what_was_written_by_hand_is_shown_and_what_is_not_there(site: Machine) -> None:
    assert shown(site) == ["none", "", ""]
    (site.root / "shared" / ".env").write_text("A=1\n")
    assert shown(site) == ["by hand", base64.b64encode(b"A=1\n").decode(), ""]


def test_variables_change_with_the_switch_and_go_back_with_it(site: Machine) -> None:
    env = site.root / "shared" / ".env"
    variables_of(site, "r1", "A=1\n")
    variables_of(site, "r2", "A=2\n")
    env.symlink_to(".env.d/r1")
    site.run(releases.ACTIVATE)
    assert env.read_text() == "A=2\n"
    site.run(releases.UNDO, releases.THROW_AWAY)
    assert env.read_text() == "A=1\n"


def test_variables_by_hand_are_kept_and_come_back(site: Machine) -> None:
    env = site.root / "shared" / ".env"
    env.write_text("BY=hand\n")
    variables_of(site, "r2", "A=2\n")
    site.run(releases.ACTIVATE)
    assert env.read_text() == "A=2\n"
    site.run(releases.UNDO, releases.THROW_AWAY)
    assert (env.read_text(), env.is_symlink()) == ("BY=hand\n", False)


def test_a_switch_cut_off_between_its_two_links_is_undone(site: Machine) -> None:
    env = site.root / "shared" / ".env"
    variables_of(site, "r1", "A=1\n")
    env.symlink_to(".env.d/r2")
    variables_of(site, "r2", "A=2\n")
    (site.root / ".devflow" / "before.d2").write_text("releases/r1\n")
    ran = site.run(releases.UNDO, releases.THROW_AWAY)
    assert (env.read_text(), site.current, ran.notes("took_back")) == ("A=1\n", "releases/r1", [])


def test_variables_that_were_all_removed_leave_no_dangling_link(site: Machine) -> None:
    env = site.root / "shared" / ".env"
    variables_of(site, "r1", "A=1\n")
    env.symlink_to(".env.d/r1")
    site.run(releases.ACTIVATE)
    assert not env.is_symlink()


# --- shared files and folders -----------------------------------------------------------------------------------------


def test_link_shared_is_text_with_quoted_paths() -> None:
    text = releases.link_shared([".env", "a b.php"], ["storage"])
    assert text.splitlines()[-3:] == [
        "link_shared .env file",
        "link_shared 'a b.php' file",
        "link_shared storage folder",
    ]


@pytest.mark.parametrize("path", NASTY)
def test_names_of_shared_folders_are_never_executed(site: Machine, path: str) -> None:
    ran = site.run(releases.link_shared([], [path]))
    assert (ran.code, ran.lines) == (0, [])
    assert (site.root / "releases" / "r2" / path).readlink() == site.root / "shared" / path
    assert (site.root / "shared" / path).is_dir()
    assert not list(site.folder.rglob("pwned"))


def test_what_a_commit_brings_for_a_shared_folder_seeds_it_once(site: Machine) -> None:
    link = releases.link_shared([], ["storage"])
    for release, text in (("r1", "first"), ("r2", "second")):
        folder = site.root / "releases" / release / "storage"
        folder.mkdir()
        (folder / "seed").write_text(text)
        site.run(link, release=release)
    assert (site.root / "shared" / "storage" / "seed").read_text() == "first"
    assert (site.root / "releases" / "r2" / "storage" / "seed").read_text() == "first"


def test_a_shared_file_is_linked_before_it_is_there(site: Machine) -> None:
    site.run(releases.link_shared(["config/local.php", ".env"], []))
    assert (site.root / "releases" / "r2" / "config" / "local.php").is_symlink()
    assert not (site.root / "releases" / "r2" / ".env").is_symlink()  # an app without .env must not see a dangling one


def test_a_copy_that_fails_stops_the_step(site: Machine) -> None:
    folder = site.root / "releases" / "r2" / "storage"
    folder.mkdir()
    site.tool("cp", "echo 'cp: No space left on device' >&2; exit 1")
    assert site.run(releases.link_shared([], ["storage"])).code == 1
    assert not folder.is_symlink()


# --- pruning, reporting -----------------------------------------------------------------------------------------------


def kept(site: Machine) -> list[str]:
    return sorted(path.name for path in (site.root / "releases").iterdir())


def test_prune_keeps_the_newest(site: Machine) -> None:
    for number in range(3, 7):
        site.release(f"r{number}")
    (site.root / "current").unlink()
    (site.root / "current").symlink_to("releases/r6")
    variables_of(site, "r1", "A=1\n")
    ran = site.run(releases.PRUNE, release="r6", keep=3)
    assert kept(site) == ["r4", "r5", "r6"]
    assert ran.lines == ["Removed release r1", "Removed release r2", "Removed release r3"]
    assert not (site.root / "shared" / ".env.d" / "r1").exists()


def test_prune_spares_what_serves_and_what_served_before(site: Machine) -> None:
    for number in range(3, 7):
        site.release(f"r{number}")
    (site.root / ".devflow" / "before.d2").write_text("releases/r2\n")
    site.run(releases.PRUNE, keep=2)
    assert kept(site) == ["r1", "r2"]


def test_prune_counts_no_release_that_nobody_goes_back_to(site: Machine) -> None:
    """r3 served before, of a deployment that failed and could not be taken back."""
    for number in range(3, 5):
        site.release(f"r{number}")
    (site.root / "current").unlink()
    (site.root / "current").symlink_to("releases/r4")
    (site.root / ".devflow" / "making.d1").write_text("r3\n")
    (site.root / ".devflow" / "making.d2").write_text("r4\n")
    (site.root / ".devflow" / "before.d2").write_text("releases/r3\n")
    site.run(releases.PRUNE, release="r4", keep=2)
    assert kept(site) == ["r2", "r3", "r4"]


def test_prune_goes_on_where_a_release_cannot_be_removed(site: Machine) -> None:
    for number in range(3, 5):
        site.release(f"r{number}")
    (site.root / "current").unlink()
    (site.root / "current").symlink_to("releases/r4")
    site.tool("rm", 'case "$*" in */r1*) exit 1 ;; *) exec /bin/rm "$@" ;; esac')
    ran = site.run(releases.PRUNE, release="r4", keep=2)
    assert (ran.code, kept(site)) == (0, ["r1", "r3", "r4"])
    assert ran.lines[0].startswith("Release r1 cannot be removed")


def test_prune_without_anything_to_do(site: Machine) -> None:
    assert (site.run(releases.PRUNE, keep=5).code, kept(site)) == (0, ["r1", "r2"])


def test_the_report_names_what_is_kept_and_what_serves(site: Machine) -> None:
    ran = site.run(releases.REPORT)
    assert (ran.notes("current"), ran.notes("release")) == (["r1"], ["r1", "r2"])


def test_the_report_of_an_empty_site(machine: Machine) -> None:
    ran = machine.run(releases.REPORT)
    assert (ran.code, ran.notes("current"), ran.notes("release")) == (0, [""], [])


def test_reloading_commands_are_kept_as_they_are(site: Machine) -> None:
    commands = ["echo 'it''s' \"$HOME\"", "two\nlines"]
    site.run(releases.remember_reload(commands, root=str(site.root), options={}, tools=""))
    assert Path(site.root / ".devflow" / "reload").read_text() == "\n".join(commands) + "\n"


def test_reloading_commands_find_the_options_and_the_tools_of_a_run(site: Machine) -> None:
    tools = 'mkdir -p "$run/bin"\n'
    options = {"unit": "it's $HOME", "php_version": "8.3"}
    command = releases.remember_reload(
        ['printf "%s|" "$option_unit" "$option_php_version" "$run"'], root=str(site.root), options=options, tools=tools
    )
    site.run(command)
    done = subprocess.run(
        ["sh", "-e", str(site.root / ".devflow" / "reload")], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"it's $HOME|8.3|{site.root}/.devflow|"
    assert (site.root / ".devflow" / "bin").is_dir()


def test_variables_go_to_the_file_that_the_recipe_names(site: Machine) -> None:
    site.secrets = RunSecrets(variables={"KEY": "value"})
    (site.root / "releases" / "r2" / ".env").write_text("KEY=default\n")
    assert site.run(releases.write_variables(".env.local")).code == 0
    assert (site.root / "releases" / "r2" / ".env").read_text() == "KEY=default\n"
    assert (site.root / "releases" / "r2" / ".env.local").read_text() == "KEY=value\n"
