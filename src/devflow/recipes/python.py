"""Python applications, with Django's own commands where there is a manage.py."""

from __future__ import annotations

from devflow.engine.task import Option, Phase, Recipe, Reuse, Task, Where
from devflow.recipes import reuse
from devflow.recipes.common import IRREVERSIBLE, THROWN_AWAY
from devflow.recipes.processes import PROCESS, START_COMMAND
from devflow.recipes.units import RESTART_UNITS, UNIT_OPTIONS

_UV = "[ -f uv.lock ]"
_POETRY = "[ -f poetry.lock ] && [ ! -f uv.lock ]"
_PIP = "[ ! -f uv.lock ] && [ ! -f poetry.lock ]"
_PIP_REQUIREMENTS = f"{_PIP} && [ -f requirements.txt ]"
_PIP_PROJECT = f"{_PIP} && [ ! -f requirements.txt ] && {{ [ -f pyproject.toml ] || [ -f setup.py ]; }}"
_PIP_NOTHING = f"{_PIP} && [ ! -f requirements.txt ] && [ ! -f pyproject.toml ] && [ ! -f setup.py ]"
_DJANGO = "[ -f manage.py ]"
_HAS_STATIC_ROOT = "grep -rqs --include='*.py' --exclude-dir=.venv --exclude-dir=node_modules '^ *STATIC_ROOT' ."

PYTHON = Option(
    name="python",
    title="Python",
    help="The Python that the virtual environment is made with, like python3.12 or /opt/python/bin/python3.12. "
    "Empty: the server's python3.",
    pattern=r"(((/[A-Za-z0-9_][A-Za-z0-9_.-]*)+/)?python3(\.[0-9]{1,2})?)?",
    check="""\
command -v "$option_python" >/dev/null || explain "$option_python is not installed on $server. Install it there: apt-get install ${option_python##*/} ${option_python##*/}-venv, or set another Python in the settings of the environment."
""",
)

_VENV = """\
python=${option_python:-python3}
"$python" -c 'import ensurepip, venv' 2>/dev/null || { echo "$python cannot make virtual environments here. Install on the server: apt-get install ${python##*/}-venv"; exit 1; }
[ -x .venv/bin/python ] || "$python" -m venv .venv"""


def _install(name: str, command: str, condition: str, *needs: str, kept: Reuse | None = None) -> Task:
    return Task(
        name=name,
        phase=Phase.PREPARE,
        command=command,
        condition=condition,
        needs=needs,
        undo=THROWN_AWAY,
        reuse=kept,
    )


INSTALL = (
    _install(
        "uv sync",
        'UV_PROJECT_ENVIRONMENT=.venv uv sync --frozen --no-dev ${option_python:+--python "$option_python"}',
        _UV,
        "uv",
        kept=reuse.UV,
    ),
    _install(
        "poetry install",
        f"{_VENV}\nPOETRY_VIRTUALENVS_IN_PROJECT=true poetry install --only main --no-interaction",
        _POETRY,
        "poetry",
        kept=reuse.POETRY,
    ),
    _install("virtual environment", _VENV, _PIP_NOTHING),
    _install(
        "pip install",
        f"{_VENV}\n.venv/bin/pip install --quiet --no-input --disable-pip-version-check -r requirements.txt",
        _PIP_REQUIREMENTS,
        kept=reuse.PIP,
    ),
    _install(
        "pip install project",
        f"{_VENV}\n.venv/bin/pip install --quiet --no-input --disable-pip-version-check .",
        _PIP_PROJECT,
    ),
)
"""Into `.venv` of the release, by what the lock file says; pip checks hashes by itself where requirements.txt has them."""

DJANGO = (
    Task(
        name="collectstatic",
        phase=Phase.PREPARE,
        command=".venv/bin/python manage.py collectstatic --noinput",
        condition=f"{_DJANGO} && {_HAS_STATIC_ROOT}",
        undo=THROWN_AWAY,
    ),
    Task(
        name="migrate",
        phase=Phase.MIGRATE,
        command=".venv/bin/python manage.py migrate --noinput",
        condition=_DJANGO,
        where=Where.FIRST,
        undo=f"{IRREVERSIBLE} without a backup: write migrations that the previous release can live with",
    ),
)

RECIPE = Recipe(
    name="python",
    title="Python/Django",
    detect=lambda tree: bool(
        tree.files & {"requirements.txt", "pyproject.toml", "manage.py", "uv.lock", "poetry.lock", "setup.py"}
    ),
    tasks=(*INSTALL, *DJANGO, RESTART_UNITS),
    shared_files=(".env",),
    options=(START_COMMAND, PYTHON, *UNIT_OPTIONS),
    runtime=PROCESS,
)
