"""Scripts: everything from outside is quoted, frames carry the nonce, and steps stop at the first failure."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devflow.commands import releases
from devflow.engine import script
from devflow.engine.plan import Group, Plan, Target, place
from devflow.engine.script import RunSecrets
from devflow.engine.task import Phase, Task
from tests.support.machine import NONCE, Machine
from tests.support.plans import deploy_plan, rollback_plan

NASTY = [
    "; rm -rf ~",
    "$(touch pwned)",
    "`touch pwned`",
    "it's",
    'a "b"',
    "a\nb",
    "späße 日本",
    "\\",
    "'\"'\"'",
    "-n",
    "%s",
    "x" * 300,
]
SECRET = RunSecrets(variables={"APP_KEY": "s3cret-value", "MAIL": "it's"}, deploy_key="the-deploy-key")


def render(plan: Plan, group: Group, target: Target | None = None, secrets: RunSecrets = SECRET) -> str:
    return script.render(
        plan,
        group,
        target or plan.site.targets[0],
        deployment="d2",
        commit="",
        secrets=secrets,
        nonce=NONCE,
    ).text


def task(command: str, *, phase: Phase = Phase.PREFLIGHT, builtin: bool = True, **settings: object) -> Task:
    return Task("task", phase, command, "undone", is_builtin=builtin, **settings)  # type: ignore[arg-type]


def plan_of(machine: Machine, *tasks: Task, **settings: object) -> Plan:
    site = machine.site(**settings)
    return Plan("atomic", "small", "r2", "", False, site, place(site, tasks))


# --- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("servers", [("web1",), ("web1", "web2")])
@pytest.mark.parametrize("make", [deploy_plan, rollback_plan])
def test_every_script_is_valid_shell(shell: str, servers: tuple[str, ...], make: type) -> None:
    plan: Plan = make(*servers, variable_keys=("APP_KEY",), name="it's; $(id)", phase_commands={"prepare": NASTY[:4]})
    for group in (*plan.groups, plan.undo):
        for target in plan.site.targets:
            done = subprocess.run(
                [shell, "-n"], input=render(plan, group, target).encode(), capture_output=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, b"")


def test_a_script_ends_with_its_mark_so_that_a_part_of_it_is_never_run() -> None:
    plan = deploy_plan("web1")
    assert all(render(plan, group).endswith("\n#end\n") for group in (*plan.groups, plan.undo))


def test_no_secret_is_in_a_plan() -> None:
    plan = deploy_plan("web1", variable_keys=tuple(SECRET.variables))
    assert "s3cret-value" in render(plan, plan.groups[0])
    assert "s3cret-value" not in json.dumps(plan.to_json())
    assert "s3cret-value" not in repr(SECRET)
    assert "the-deploy-key" not in repr(SECRET)


def test_secrets_are_all_that_must_not_be_shown() -> None:
    assert set(SECRET.values()) == {"s3cret-value", "it's", "the-deploy-key"}


def test_what_is_no_secret_may_be_shown() -> None:
    secrets = RunSecrets(
        variables={"APP_ENV": "production", "KEY": "k"}, files={"F": "f"}, shown=frozenset({"APP_ENV"})
    )
    assert set(secrets.values()) == {"k", "f", ""}
    assert "production" not in repr(secrets)


def test_a_command_finds_a_file_of_a_variable_by_its_path(machine: Machine) -> None:
    machine.release("r2")
    machine.secrets = RunSecrets(files={"KEY_FILE": "the text"})
    show = task('echo "$KEY_FILE"; cat "$KEY_FILE"', builtin=False)
    plan = plan_of(machine, task(releases.write_variables()), show)
    ran = machine.carry_out(plan, plan.groups[0])
    assert ran.lines == [f"{machine.root}/shared/.env.d/r2.files/KEY_FILE", "the text"]


def test_a_variable_whose_file_an_older_release_does_not_have_is_not_set(machine: Machine) -> None:
    machine.release("r2")
    machine.secrets = RunSecrets(files={"OLD_FILE": "x"})
    machine.run(releases.write_variables())
    machine.secrets = RunSecrets(files={"OLD_FILE": "x", "NEW_FILE": "x"})
    plan = plan_of(machine, task('echo "${OLD_FILE##*/} ${NEW_FILE-not set}"', builtin=False))
    ran = machine.carry_out(plan, plan.groups[0])
    assert (ran.code, ran.lines) == (0, ["OLD_FILE not set"])


def test_the_script_itself_does_not_show_in_a_repr() -> None:
    assert "s3cret" not in repr(script.Script("id", NONCE, "s3cret"))


def test_a_run_is_named_after_deployment_server_and_group() -> None:
    plan = deploy_plan("web1", "web2")
    assert script.run_id("d2", plan.site.targets[1], plan.forward) == "d2-idweb2-1-forward"
    assert script.run_id("d2", plan.site.targets[1], plan.undo) == "d2-idweb2-undo"


def test_nonces_come_from_the_panels_key() -> None:
    assert script.nonce_of("run", b"key") == script.nonce_of("run", b"key")
    assert len({script.nonce_of(run, key) for run in ("a", "b") for key in (b"k" * 64, b"l" * 64)}) == 4


def test_a_step_runs_on_its_servers_only() -> None:
    plan = deploy_plan("web1", "web2")
    migrate = next(group for group in plan.groups if group.name == "2-migrate")
    assert "./migrate" in render(plan, migrate, plan.site.targets[0])
    assert "./migrate" not in render(plan, migrate, plan.site.targets[1])


def test_a_run_waits_at_a_gate_before_each_group_of_its_server_but_the_first() -> None:
    plan = deploy_plan("web1", "web2")

    def gates(target: Target) -> list[str]:
        return re.findall(r"^gate \d$", render(plan, plan.forward, target), re.MULTILINE)

    assert gates(plan.site.targets[0]) == ["gate 2", "gate 3", "gate 4", "gate 5"]
    assert gates(plan.site.targets[1]) == ["gate 3", "gate 4", "gate 5"]
    alone = deploy_plan("web1")
    assert not re.findall(r"^gate \d|^mkfifo", render(alone, alone.forward), re.MULTILINE)


# --- carried out in real shells ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [value for value in NASTY if "\n" not in value])
def test_names_from_outside_reach_a_step_literally(machine: Machine, value: str) -> None:
    show = 'printf "%s\\n" "$site" "$repository" "$branch" "$root" "$release" "$commit"'
    plan = plan_of(machine, task(f"{show}\n"), name=value, repository=value, branch=value, root=f"/{value}")
    ran = machine.carry_out(plan, plan.groups[0], commit=value)
    assert ran.lines == [value, value, value, f"/{value}", "r2", value]
    assert not list(machine.folder.rglob("pwned"))


@settings(max_examples=25)
@given(
    values=st.dictionaries(
        st.sampled_from(["APP_KEY", "MAIL_FROM", "_X"]),
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40),
        min_size=1,
    )
)
def test_variables_reach_a_command_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, str]
) -> None:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    machine.release("r2")
    machine.secrets = RunSecrets(variables=values)
    printed = f'for key in {" ".join(values)}; do printenv "$key" | od -An -v -tx1 | tr -d " \\n"; echo; done'
    plan = plan_of(machine, task(printed, builtin=False))
    ran = machine.carry_out(plan, plan.groups[0])
    assert [bytes.fromhex(line).decode() for line in ran.lines] == [f"{value}\n" for value in values.values()]


def test_steps_are_framed_with_their_exit_codes(machine: Machine) -> None:
    plan = plan_of(machine, task("echo one\n"), task("echo two; exit 7\n"), task("echo three\n"))
    ran = machine.carry_out(plan, plan.groups[0])
    assert (ran.code, ran.lines) == (7, ["one", "two"])
    assert ran.frames == [("begin", "0"), ("end", "0 0"), ("begin", "1"), ("end", "1 7"), ("ended", "7")]


def test_a_step_stops_at_its_first_failing_command(machine: Machine) -> None:
    ran = machine.run("false\necho 'went on'\n")
    assert (ran.code, ran.lines) == (1, [])


def test_an_own_command_stops_at_its_first_failure_too(machine: Machine) -> None:
    machine.release("r2")
    plan = plan_of(machine, task("false\necho 'went on'", builtin=False))
    assert machine.carry_out(plan, plan.groups[0]).lines == []


def test_an_own_command_runs_in_the_release_with_nothing_on_its_input(machine: Machine) -> None:
    folder = machine.release("r2")
    plan = plan_of(machine, task("pwd; cat; umask", builtin=False))
    assert machine.carry_out(plan, plan.groups[0]).lines == [str(folder), "0022"]


def test_a_condition_that_is_not_met_skips_the_task(machine: Machine) -> None:
    machine.release("r2")
    plan = plan_of(machine, task("echo ran", builtin=False, condition="[ -f composer.json ]"))
    ran = machine.carry_out(plan, plan.groups[0])
    assert (ran.code, ran.lines) == (0, [])
    assert [(kind, rest) for kind, rest in ran.frames if kind != "ended"] == [("begin", "0"), ("skip", "0")]


def test_a_missing_program_is_explained(machine: Machine) -> None:
    machine.release("r2")
    plan = plan_of(machine, task("echo ran", builtin=False, needs=("no-such-program",)))
    ran = machine.carry_out(plan, plan.groups[0])
    assert ran.code == 1
    assert ran.explained == (
        "no-such-program is not installed on web1; 'task' needs it. Install it there: apt-get install no-such-program"
    )


def test_a_failing_run_undoes_at_once_and_in_full(machine: Machine) -> None:
    machine.release("r2")
    plan = plan_of(
        machine,
        task("exit 3\n"),
        task("echo 'took back'; exit 1\n", phase=Phase.UNDO),
        task("echo cleaned\n", phase=Phase.UNDO),
    )
    ran = machine.carry_out(plan, plan.groups[0])
    assert (ran.code, ran.lines) == (3, ["took back", "cleaned"])


def test_undoing_goes_on_where_a_part_of_it_fails(machine: Machine) -> None:
    plan = plan_of(machine, task("echo one; exit 4\n", phase=Phase.UNDO), task("echo two\n", phase=Phase.UNDO))
    ran = machine.carry_out(plan, plan.undo)
    assert (ran.code, ran.lines) == (4, ["one", "two"])


def test_what_reloads_is_repeated_only_where_a_release_was_taken_back(machine: Machine) -> None:
    machine.release("r1")
    (machine.root / "current").symlink_to("releases/r1")
    again = task("pwd -P", phase=Phase.UNDO, builtin=False)
    plan = plan_of(machine, again)
    ran = machine.carry_out(plan, plan.undo)
    assert (ran.lines, [kind for kind, _ in ran.frames]) == ([], ["begin", "skip", "ended"])
    plan = plan_of(machine, task('echo r1 >"$run/took_back"\n', phase=Phase.UNDO), again)
    assert machine.carry_out(plan, plan.undo).lines == [str(machine.root / "releases" / "r1")]


def test_what_ended_leaves_no_secret_behind(machine: Machine) -> None:
    machine.secrets = SECRET
    machine.run('echo >"$run/deploy_key"\n', "exit 2\n")
    (run,) = (machine.home / ".devflow" / "runs").iterdir()
    assert (run / "rc").read_text() == "2\n"
    assert not (run / "script").exists()
    assert not (run / "deploy_key").exists()


def test_output_cannot_forge_a_frame(machine: Machine) -> None:
    ran = machine.run("printf '\\036%s 1.0 ended 0\\036\\n' 000000000000000000000000\n", "exit 1\n")
    assert [rest for kind, rest in ran.frames if kind == "ended"] == ["1"]
