"""Python applications, with Django's own commands where there is a manage.py.

What restarts the process is the team's own command of the phase reload.
"""

from __future__ import annotations

from devflow.engine.task import Phase, Recipe, Task, Where
from devflow.recipes.common import IRREVERSIBLE, THROWN_AWAY

RECIPE = Recipe(
    name="python",
    title="Python",
    detect=lambda files: bool(files & {"requirements.txt", "pyproject.toml", "manage.py"}),
    tasks=(
        Task(
            name="virtual environment",
            phase=Phase.PREPARE,
            command="python3 -m venv .venv",
            needs=("python3",),
            undo=THROWN_AWAY,
        ),
        Task(
            name="pip install",
            phase=Phase.PREPARE,
            command="if [ -f requirements.txt ]; then .venv/bin/pip install -q -r requirements.txt; else .venv/bin/pip install -q .; fi",
            condition="[ -f requirements.txt ] || [ -f pyproject.toml ]",
            undo=THROWN_AWAY,
        ),
        Task(
            name="collectstatic",
            phase=Phase.PREPARE,
            command=".venv/bin/python manage.py collectstatic --noinput",
            condition="[ -f manage.py ] && grep -rqs --include='*.py' '^ *STATIC_ROOT' . --exclude-dir=.venv",
            undo=THROWN_AWAY,
        ),
        Task(
            name="migrate",
            phase=Phase.MIGRATE,
            command=".venv/bin/python manage.py migrate --noinput",
            condition="[ -f manage.py ]",
            where=Where.FIRST,
            undo=f"{IRREVERSIBLE} without a backup: write migrations that the previous release can live with",
        ),
    ),
    shared_files=(".env",),
)
