"""A group of steps as the shell script of one journaled run. What is from outside enters in its first lines, quoted."""

from __future__ import annotations

import hashlib
import secrets as random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from devflow.commands import dependencies
from devflow.core import dotenv
from devflow.core.shell import quote
from devflow.engine.plan import Group, Plan, Site, Step, Target
from devflow.engine.task import Phase, Reuse, Task

FRAME = "\x1e"
"""ASCII record separator: encloses a frame in a run's journal."""
_INSTALL = {
    "php": "apt-get install php-cli",
    "node": "apt-get install nodejs",
    "python3": "apt-get install python3 python3-venv",
    "pnpm": "npm install -g pnpm",
    "yarn": "npm install -g yarn",
    "uv": "see docs.astral.sh/uv, or pip install uv",
    "poetry": "apt-get install python3-poetry",
}
"""How a program comes to a server where its package has another name."""
UNWRITTEN_SECONDS = 30
"""How long a run tries to write a frame to its journal on a full disk; then it ends, which the panel sees."""
UNDO_SECONDS = 60
"""How long a command may take that is repeated while a release is taken back: nobody could cancel that."""


@dataclass(frozen=True, slots=True)
class RunSecrets:
    """What a script carries and a plan does not: the environment's variables and the project's deploy key.

    `files` are texts of variables that are paths on the server, to a file with that text; `shown` are the keys of
    variables that are no secrets.
    """

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    deploy_key: str = field(default="", repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    shown: frozenset[str] = frozenset()

    def values(self) -> tuple[str, ...]:
        """All that must never be shown."""
        hidden = (value for key, value in self.variables.items() if key not in self.shown)
        return (*hidden, *self.files.values(), self.deploy_key)


@dataclass(frozen=True, slots=True)
class Script:
    """`nonce` marks the frames of this script in its journal; output that only looks like a frame does not have it."""

    run_id: str
    nonce: str
    text: str = field(repr=False)


def run_id(deployment: str, target: Target, group: Group) -> str:
    """The run's name on the server, without an attempt number: nothing is ever run twice by accident.

    `<deployment>-<server>-<group>`, where the group's number and phase hold exactly one hyphen and `undo` none.
    """
    return f"{deployment}-{target.id}-{group.name}"


def nonce_of(identity: str, key: bytes) -> str:
    """The nonce of a run: derived from the panel's key, so that a worker that takes over knows it too."""
    return hashlib.blake2b(identity.encode(), key=key[:64], digest_size=12).hexdigest()


def render(
    plan: Plan,
    group: Group,
    target: Target,
    *,
    deployment: str,
    commit: str,
    secrets: RunSecrets,
    nonce: str,
    apart: Iterable[str] = (),
) -> Script:
    """The script of `group` on `target`. `commit` is the full id, or '' to take the branch's head: as the first server
    finds it, and as the others are told then. `apart` are servers that could not be taken back."""
    identity = run_id(deployment, target, group)
    steps = [step for step in group.steps if target.name in step.servers]
    undo = [] if group.is_undo else [step for step in plan.undo.steps if _takes_back(step, target, plan)]
    parts = [
        _head(plan, target, identity=identity, deployment=deployment, commit=commit, secrets=secrets, nonce=nonce),
        _reuse(plan) if any(_reuses(step) for step in steps) else "",
        *(_function(step, target, plan) for step in [*steps, *undo]),
        f"apart={quote(' '.join(apart))}\n" if group.is_undo and plan.is_in_rounds else "",
        _undo(undo, [step for step in steps if step.task.servers] if plan.is_in_rounds else None),
        _calls(plan, group, steps),
        'ended "$worst"\n#end\n',
    ]
    return Script(run_id=identity, nonce=nonce, text="".join(parts))


def _calls(plan: Plan, group: Group, steps: list[Step]) -> str:
    """The steps in order; where another group of the plan begins, a gate, at which the panel's word is waited for."""
    if group.is_undo:
        return "".join(f"{_call('attempt', step)}\n" for step in steps)
    number_of = {step.position: number for number, part in enumerate(plan.groups, 1) for step in part.steps}
    lines = []
    for before, step in zip([None, *steps], steps, strict=False):
        number = number_of[step.position]
        if before is not None and number != number_of[before.position]:
            lines.append(f"gate {number}\n")
        lines.append(f"{_call('step', step)}\n")
    return ('mkfifo "$run/gate"\n' if any(line.startswith("gate") for line in lines) else "") + "".join(lines)


def _head(
    plan: Plan, target: Target, *, identity: str, deployment: str, commit: str, secrets: RunSecrets, nonce: str
) -> str:
    site = plan.site
    end = f"end-{random.token_hex(8)}"
    if target not in (*site.targets, site.builder):
        secrets = RunSecrets()  # a balancer has no use for them
    options = "".join(f"export option_{name}={quote(value)}\n" for name, value in (site.options or {}).items())
    strategy = "".join(f"strategy_{name}={quote(value)}\n" for name, value in (site.strategy_options or {}).items())
    folder = f"{site.root}/shared/.env.d/{plan.release}.files"
    files = {key: f"{folder}/{key}" for key in secrets.files}
    variables = {**secrets.variables, **files}
    hidden = [key for key in secrets.variables if key not in secrets.shown]
    exports = "".join(f"  export {key}={quote(value)}\n" for key, value in secrets.variables.items())
    # a release that is rolled back to has no file of a variable that is newer
    exports += "".join(f"  [ ! -f {quote(path)} ] || export {key}={quote(path)}\n" for key, path in files.items())
    return f"""\
umask 022
devflow=$HOME/.devflow
run=$devflow/runs/{identity}
echo "$$" >"$run/pgid"
read -r boot_id </proc/sys/kernel/random/boot_id && echo "$boot_id" >"$run/boot_id"
export DEVFLOW_RUN={identity}
nonce={nonce}
deployment={deployment}
environment={site.environment_id}
server={quote(target.name)}
site={quote(site.name)}
repository={quote(site.repository)}
branch={quote(site.branch)}
mirror="$devflow/repos/"{quote(site.mirror)}.git
commit={quote(commit)}
leads={int(target == site.leader)}
root={_root(site, target)}
release={quote(plan.release)}
path=$root/releases/$release
keep={site.keep}
proxy={quote(site.proxy)}
domains={quote(" ".join(site.domains))}
blue_port={site.port}
green_port={site.port + 1}
{strategy}variable_names={quote(" ".join(variables))}
secret_names={quote(" ".join([*hidden, *files]))}
clean={int(plan.is_clean)}
deploy_key={quote(secrets.deploy_key)}
worst=0
{options}dotenv() {{
  cat <<'{end}'
{dotenv.render(variables)}{end}
}}
variable_files() {{
{_files(secrets.files)}}}
user_env() {{
  :
{exports}}}
frame() {{
  read -r now _ </proc/uptime
  unwritten=0
  until printf '{FRAME}%s %s %s{FRAME}\\n' "$nonce" "$now" "$*"; do  # the panel waits for it, and the disk is full
    unwritten=$((unwritten + 1))
    [ "$unwritten" -lt {UNWRITTEN_SECONDS * 2} ] || exit 98
    sleep 0.5
    [ -z "$(tail -c 1 "$run/log")" ] || echo || :  # what of it was written is a line of its own
  done 2>/dev/null
}}
note() {{ frame "note $1 $2"; }}
explain() {{ frame "explain $*"; exit 1; }}
carry_out() {{
  ( set -e; "task_$1" )
  code=$?
  if [ "$code" -ne 0 ]; then worst=$code; fi
  frame "end $1 $code"
}}
attempt() {{
  frame "begin $1"
  carry_out "$1"
}}
step() {{
  attempt "$1"
  if [ "$code" -ne 0 ]; then failed "$1"; fi
}}
attempt_if() {{
  frame "begin $1"
  code=0
  if "wanted_$1"; then carry_out "$1"; else frame "skip $1"; fi
}}
step_if() {{
  attempt_if "$1"
  if [ "$code" -ne 0 ]; then failed "$1"; fi
}}
wait_there() {{ if [ -p "$run/gate" ]; then read -r _ <"$run/gate" || :; else sleep 1; fi; }}
gate() {{
  frame "gate $1"
  until [ -e "$run/open-$1" ]; do wait_there; done
  holds_lock || ended 1
}}
told_commit() {{
  frame "await commit"
  until {{ read -r commit <"$run/told"; }} 2>/dev/null; do wait_there; done
}}
ended() {{
  rm -rf "$run/script" "$run/deploy_key" "$run/docker"
  echo "$1" >"$run/rc" && frame "ended $1"
  exit "$1"
}}
holds_lock() {{
  by=''
  [ -s "$root/.devflow/lock" ] && read -r _ by _ <"$root/.devflow/lock"
  [ "$by" = "$deployment" ] || frame "explain This deployment does not hold the lock of $root on $server any more."
  [ "$by" = "$deployment" ]
}}
{site.tools}"""


def _root(site: Site, target: Target) -> str:
    """The site's folder; on a server that only balances or builds, one that holds its lock."""
    return quote(site.root) if target in site.targets else f"$devflow/sites/{site.environment_id}"


def _files(files: Mapping[str, str]) -> str:
    """Shell lines that write the files into the folder `$1`, for nobody but the owner."""
    if not files:
        return "  :\n"
    writes = "".join(f'  printf %s {quote(text)} >"$1/{key}" || return 1\n' for key, text in files.items())
    return f'  umask 077\n  rm -rf "$1"\n  mkdir "$1" || return 1\n{writes}'


def _reuses(step: Step) -> bool:
    return step.task.reuse is not None and not step.task.is_builtin and step.task.phase is not Phase.UNDO


def _reuse(plan: Plan) -> str:
    folders = dict.fromkeys(folder for step in plan.steps if step.task.reuse for folder in step.task.reuse.folders)
    return dependencies.functions(is_clean=plan.is_clean, folders=folders)


def _function(step: Step, target: Target, plan: Plan) -> str:
    task = step.task
    if task.is_builtin:
        return f"task_{step.position}() {{\n{task.command}}}\n"
    is_undo = task.phase is Phase.UNDO
    folder = '"$root/current"' if is_undo else '"$root"' if task.is_early else '"$path"'
    lines = [f"cd {folder}"]
    lines += [
        f"{_has_any(program.split('|'))} || explain {quote(_missing(program, task.name, target))}"
        for program in task.needs
    ]
    limit = f"timeout -k 5 {UNDO_SECONDS} " if is_undo else ""
    if _reuses(step) and task.reuse:
        lines.append(_take_over(step, task.reuse, plan.site.options or {}))
    else:
        lines += ["user_env", f"exec {limit}sh -ec {quote(task.command)}"]
    wanted = f"wanted_{step.position}() {{\n{_test(task, folder)}\n}}\n" if _is_conditional(step) else ""
    return wanted + f"task_{step.position}() {{\n" + "\n".join(lines) + "\n}\n"


def _call(how: str, step: Step) -> str:
    return f"{how}_if {step.position}" if _is_conditional(step) else f"{how} {step.position}"


def _is_conditional(step: Step) -> bool:
    """A step that the run's shell itself asks about: most of a recipe's do not apply, and cost no process then."""
    is_again = step.task.phase is Phase.UNDO and not step.task.is_builtin
    return bool(step.task.condition) or is_again


def _test(task: Task, folder: str) -> str:
    """What is repeated while taking back is, where the release before serves again."""
    lines = ['[ -s "$run/took_back" ] && [ -e "$root/current" ] || return 1'] if task.phase is Phase.UNDO else []
    return "\n".join([*lines, f"cd {folder} || return 0", task.condition or ":"])


def _take_over(step: Step, reuse: Reuse, options: Mapping[str, str]) -> str:
    return dependencies.task(
        step.position,
        name=step.task.name,
        told=reuse.told,
        folders=reuse.folders,
        inputs=reuse.inputs,
        tools=reuse.tools,
        when=reuse.when,
        command=step.task.command,
        after=reuse.after,
        options=[f"{name}={value}" for name, value in sorted(options.items())],
    )


def _has_any(programs: list[str]) -> str:
    return " || ".join(f"command -v {quote(program)} >/dev/null" for program in programs)


def _missing(needed: str, task: str, target: Target) -> str:
    program, *others = needed.split("|")
    shown = f"{program} (or {', '.join(others)})" if others else program
    install = _INSTALL.get(program, f"apt-get install {program}")
    return f"{shown} is not installed on {target.name}; '{task}' needs it. Install it there: {install}"


def _takes_back(step: Step, target: Target, plan: Plan) -> bool:
    """Whether a failing run does this step of the way back at once; in rounds, only what concerns its own release."""
    return target.name in step.servers and (bool(step.task.servers) or not plan.is_in_rounds)


def _undo(undo: list[Step], only: list[Step] | None) -> str:
    """What a failing run does at once, whether or not a panel is there to see it; with `only`, where one of these steps
    failed: in rounds, a server gets no requests then."""
    steps = "".join(f"  {_call('attempt', step)}\n" for step in undo)
    if only is not None:
        place = "|".join(str(step.position) for step in only)
        steps = f"  case $1 in {place})\n{steps}  ;; esac\n" if only and undo else ""
    return f'failed() {{\n  failure=$code\n{steps}  ended "$failure"\n}}\n'
