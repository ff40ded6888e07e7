"""Units: found, restarted, watched; by stand-ins of systemctl, supervisorctl and sudo (the real ones: integration)."""

from __future__ import annotations

import re

import pytest

from devflow.commands import units
from devflow.engine.plan import Plan, compose, place
from devflow.engine.task import Phase, Task
from devflow.recipes import RECIPES
from devflow.recipes.units import RESTART_UNITS, UNIT_OPTIONS
from devflow.strategies import atomic
from tests.support.machine import Machine, Ran

# `state-NAME` in HOME holds ActiveState, `user-NAME` makes it the user's; a restart is written to `calls`.
SYSTEMCTL = """\
scope=--system
case $1 in --user|--system) scope=$1; shift ;; esac
[ "$1" != --no-ask-password ] || shift
verb=$1; shift
[ "$verb" != --quiet ] || { verb=$1; shift; }
case $verb in
show)
  unit=''; property=''
  for word; do case $word in --property=*) property=${word#*=} ;; --*) ;; *) unit=$word ;; esac; done
  wanted=--system; [ ! -e "$HOME/user-$unit" ] || wanted=--user
  [ -e "$HOME/state-$unit" ] && [ "$scope" = "$wanted" ] || { [ "$property" != LoadState ] || echo not-found; exit 0; }
  case $property in
  LoadState) cat "$HOME/load-$unit" 2>/dev/null || echo loaded ;;
  ActiveState) cat "$HOME/state-$unit" ;;
  CanReload) cat "$HOME/reload-$unit" 2>/dev/null || echo no ;;
  MainPID) if [ -e "$HOME/crashes-$unit" ]; then echo $$; else echo 1; fi ;;
  Result) cat "$HOME/result-$unit" 2>/dev/null || echo success ;;
  Type) cat "$HOME/type-$unit" 2>/dev/null || echo simple ;;
  *) echo 0 ;;
  esac ;;
is-active) [ "$(cat "$HOME/state-$1")" = active ] ;;
reset-failed) echo "$scope reset-failed $1" >>"$HOME/calls"; rm -f "$HOME/result-$1" ;;
*)
  echo "$scope $verb $1" >>"$HOME/calls"
  [ "$(cat "$HOME/result-$1" 2>/dev/null)" != start-limit-hit ] || { echo "too often" >&2; exit 1; }
  if [ -e "$HOME/next-$1" ]; then cp "$HOME/next-$1" "$HOME/state-$1"; fi ;;
esac"""
SUPERVISORCTL = """\
case $1 in
pid) [ -e "$HOME/open" ] || [ -n "$AS_ROOT" ] || { echo "error: Permission denied"; exit 1; }; echo 99 ;;
status)
  [ -e "$HOME/open" ] || [ -n "$AS_ROOT" ] || { echo "error: Permission denied"; exit 1; }
  [ -e "$HOME/sup-$2" ] || { echo "$2: ERROR (no such process)"; exit 4; }
  echo "$2    $(cat "$HOME/sup-$2")   pid 1, uptime 0:00:0$$" ;;
tail) echo "last words of $2" ;;
*) echo "supervisor $*" >>"$HOME/calls" ;;
esac"""
SUDO = """\
[ "$1" = -n ] && shift
[ -e "$HOME/allowed" ] || { echo 'sudo: a password is required' >&2; exit 1; }
[ "$1" != -l ] || exit 0
AS_ROOT=1 exec "$@\""""


@pytest.fixture
def server(machine: Machine) -> Machine:
    """A server with systemd, Supervisor and sudo, where the user may do everything."""
    machine.tool("systemctl", SYSTEMCTL)
    machine.tool("supervisorctl", SUPERVISORCTL)
    machine.tool("sudo", SUDO)
    machine.tool("journalctl", 'echo "log of $*"')
    machine.tool("id", "case $1 in -un) echo deploy ;; *) echo 1000 ;; esac")
    machine.tool("sleep", "exit 0")
    machine.tool("date", 'now=$(cat "$HOME/now" 2>/dev/null || echo 1); echo $((now + 2)) | tee "$HOME/now"')
    (machine.home / "allowed").touch()
    return machine


def unit(machine: Machine, name: str, state: str = "active", **given: str) -> None:
    """A unit of systemd: `given` are the stand-in's files, as next="failed"."""
    (machine.home / f"state-{name}").write_text(state)
    for key, text in given.items():
        (machine.home / f"{key}-{name}").write_text(text)


def program(machine: Machine, name: str, state: str = "RUNNING") -> None:
    (machine.home / f"sup-{name}").write_text(state)


def restart(machine: Machine, names: str, *, manager: str = "auto", action: str = "restart") -> Ran:
    machine.runs += 1
    release = f"r{machine.runs}"
    machine.release(release)
    (machine.root / ".devflow").mkdir(exist_ok=True)
    (machine.root / ".devflow" / "lock").write_text("e d2 shop\n")
    site = machine.site(options={"unit": names, "unit_manager": manager, "unit_action": action})
    plan = Plan("atomic", "node", release, "", False, site, place(site, [RESTART_UNITS]))
    return machine.carry_out(plan, plan.groups[0])


def calls(machine: Machine) -> list[str]:
    file = machine.home / "calls"
    return file.read_text().splitlines() if file.exists() else []


def test_without_a_name_nothing_is_done(server: Machine) -> None:
    ran = restart(server, "")
    assert (ran.code, ran.lines, calls(server)) == (0, [], [])


def test_units_are_restarted_in_turn_wherever_they_are(server: Machine) -> None:
    unit(server, "shop")
    unit(server, "personal.service", user="")
    program(server, "queue")
    program(server, "group:*")
    ran = restart(server, "shop personal.service queue group:* group")
    assert ran.code == 0
    assert calls(server) == [
        *("--system restart shop", "--user restart personal.service", "supervisor restart queue"),
        *("supervisor restart group:*", "supervisor restart group:*"),
    ]


@pytest.mark.parametrize("manager", ["systemd", "supervisor"])
def test_only_the_manager_that_is_set_is_asked(server: Machine, manager: str) -> None:
    unit(server, "shop")
    program(server, "shop")
    restart(server, "shop", manager=manager)
    assert calls(server) == ["--system restart shop" if manager == "systemd" else "supervisor restart shop"]
    ran = restart(server, "other", manager=manager)
    assert ran.code == 1
    assert ran.lines[-1].startswith(f"There is no unit other on this server: {manager} does not know it. ")


def test_a_unit_that_nobody_knows_is_told_before_anything_is_done(server: Machine) -> None:
    node = RECIPES["node"]
    options = {"unit": "shop lost", "unit_manager": "auto", "unit_action": "restart"}
    site = server.site(options=options)
    names = [step.task.name for step in compose(site, node, atomic.deploy(site, node))]
    assert names[:4] == ["check server", "check Units", "check colours", "lock"]
    unit(server, "shop")
    ran = server.run(units.CHECK, options=options)
    assert ran.code == 1
    assert ran.explained.startswith(
        "web1: There is no unit lost on this server: neither systemd nor Supervisor knows it."
    )
    assert server.run(units.CHECK, options={**options, "unit": "shop"}).code == 0
    assert calls(server) == []


@pytest.mark.parametrize("state", ["failed", "inactive", "activating", "deactivating"])
def test_a_unit_that_does_not_come_up_fails_with_its_log(server: Machine, state: str) -> None:
    unit(server, "shop", next=state)
    ran = restart(server, "shop")
    assert ran.code == 1
    assert ran.lines[-2].startswith("log of --system --unit shop")
    assert ran.lines[-1].startswith(f"shop did not come up: it is {state} (")


def test_a_unit_that_ended_and_was_started_again_fails(server: Machine) -> None:
    unit(server, "shop", crashes="")
    ran = restart(server, "shop")
    assert ran.code == 1
    assert ran.lines[-1].startswith("shop ended at once and was started again: ")


def test_a_oneshot_that_ended_well_is_well(server: Machine) -> None:
    unit(server, "job", "inactive", type="oneshot")
    assert restart(server, "job").code == 0
    unit(server, "job", "inactive", type="oneshot", result="exit-code")
    assert restart(server, "job").code == 1


def test_a_masked_unit_cannot_be_used(server: Machine) -> None:
    unit(server, "shop", load="masked")
    assert restart(server, "shop").lines[-1].startswith("systemd cannot use the unit shop: it is masked.")


def test_a_unit_that_has_failed_too_often_is_started_all_the_same(server: Machine) -> None:
    unit(server, "shop", "failed", next="active", result="start-limit-hit")
    assert restart(server, "shop").code == 0
    assert calls(server) == ["--system reset-failed shop", "--system restart shop"]


def test_systemds_pause_is_waited_out_for_a_while(server: Machine) -> None:
    unit(server, "shop", result="start-limit-hit")
    ran = restart(server, "shop")
    assert ran.code == 1
    assert len(calls(server)) == units.START_LIMIT_SECONDS
    assert ran.lines.count("too often") == 1


def test_reload(server: Machine) -> None:
    unit(server, "shop", reload="yes")
    assert restart(server, "shop", action="reload").code == 0
    unit(server, "down", "inactive", next="active", reload="yes")
    assert restart(server, "down", action="reload").code == 0
    program(server, "queue")
    assert restart(server, "queue", action="reload").code == 0
    assert calls(server) == ["--system reload shop", "--system restart down", "supervisor signal HUP queue"]


def test_a_unit_that_cannot_be_reloaded_is_told(server: Machine) -> None:
    unit(server, "shop")
    ran = restart(server, "shop", action="reload")
    assert (ran.code, calls(server)) == (1, [])
    assert ran.lines[-1].startswith("shop cannot be reloaded: it has no ExecReload. Choose restart")


@pytest.mark.parametrize("state", ["BACKOFF", "FATAL", "STARTING", "EXITED"])
def test_a_program_that_does_not_run_fails_with_its_log(server: Machine, state: str) -> None:
    program(server, "queue", state)
    ran = restart(server, "queue")
    assert ran.code == 1
    assert ran.lines[-2:] == ["last words of queue", f"queue did not come up: queue {state} pid 1 "]


# --- rights -----------------------------------------------------------------------------------------------------------


def test_root_needs_no_sudo(server: Machine) -> None:
    server.tool("id", "case $1 in -un) echo root ;; *) echo 0 ;; esac")
    server.tool("sudo", "exit 9")
    (server.home / "open").touch()
    unit(server, "shop")
    program(server, "queue")
    assert restart(server, "shop queue").code == 0


def test_a_unit_of_the_user_needs_no_sudo(server: Machine) -> None:
    (server.home / "allowed").unlink()
    unit(server, "shop", user="")
    assert restart(server, "shop").code == 0


def test_a_supervisor_that_is_open_for_the_user_needs_no_sudo(server: Machine) -> None:
    (server.home / "allowed").unlink()
    (server.home / "open").touch()
    program(server, "queue")
    assert restart(server, "queue").code == 0


def test_who_may_not_restart_is_told_the_line_for_sudoers(server: Machine) -> None:
    (server.home / "allowed").unlink()
    unit(server, "shop", next="failed")
    told = restart(server, "shop").lines[-1]
    assert told.endswith(": deploy ALL=(root) NOPASSWD: /usr/bin/systemctl restart shop")
    told = restart(server, "queue").lines[-1]
    assert told.startswith("deploy cannot ask Supervisor for the unit queue: sudo: a password is required.")
    assert told.endswith(": deploy ALL=(root) NOPASSWD: /usr/bin/supervisorctl")


# --- where it stands in a plan ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["node", "python"])
def test_units_are_restarted_on_all_servers_and_again_on_the_way_back(server: Machine, recipe: str) -> None:
    site = server.site()
    steps = compose(site, RECIPES[recipe], atomic.deploy(site, RECIPES[recipe]))
    names = [step.task.name for step in steps]
    assert names.index("activate") < names.index("restart units") < names.index("verify release")
    assert names.index("take back") < names.index("restart units again") < names.index("clean up")
    rollback = compose(site, RECIPES[recipe], atomic.rollback(site, RECIPES[recipe]), reload_only=True)
    assert "restart units" in [step.task.name for step in rollback]


def test_the_commands_are_kept_for_a_rollback_on_the_server(server: Machine) -> None:
    unit(server, "shop")
    site = server.site(options={"unit": "shop", "unit_manager": "auto", "unit_action": "restart"})
    tasks = [task for task in atomic.deploy(site, RECIPES["node"]) if task.name == "unlock"]
    server.release("r2")
    (server.root / ".devflow").mkdir()
    (server.root / ".devflow" / "lock").write_text("e d2 shop\n")
    plan = Plan(
        "atomic",
        "node",
        "r2",
        "",
        False,
        site,
        place(site, [Task("lock", Phase.PREFLIGHT, ":\n", "", is_builtin=True), *tasks]),
    )
    server.carry_out(plan, plan.groups[0])
    kept = (server.root / ".devflow" / "reload").read_text()
    assert "export option_unit=shop" in kept
    assert units.RESTART in kept


@pytest.mark.parametrize(
    "value", ["shop", "shop.service shop-worker@2", "group:*", "group:", "group:one_00", "a.b_c@d-e"]
)
def test_names_of_units(value: str) -> None:
    assert UNIT_OPTIONS[0].problem(value) == ""


@pytest.mark.parametrize(
    "value", ["-H host", "a;b", "a  b", " a", "$(id)", "`id`", "a/b", "../a", "*", "a*", "a\nb", "a'b", "é", "a" * 300]
)
def test_what_is_no_name_of_a_unit(value: str) -> None:
    assert UNIT_OPTIONS[0].problem(value) != ""


def test_the_command_can_be_changed_in_the_form() -> None:
    assert len(units.RESTART) < 10_000


def test_the_shell_text_reads_no_variable_that_is_not_set(server: Machine) -> None:
    """Also where a panel of before has planned the deployment, without the options."""
    assert not re.search(r"\$option|\$\{option_\w+\}", units.RESTART)
