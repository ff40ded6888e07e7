"""A migrated database to begin with: made once for each set of migrations, and copied by whoever needs an empty panel.

The cluster and its migrations take six seconds of processor time, a copy takes a tenth of one. What tests the first
start itself makes its own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from importlib import metadata
from pathlib import Path

from devflow.embedded import EmbeddedPostgres

from .docker_engine import CACHE, locked

SOURCE = Path(__file__).parents[2]
KEPT = 5
"""Templates: as many branches are worked on at a time."""
_MIGRATE = """\
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0, interactive=False)
"""


def begin_migrated(data_dir: Path) -> None:
    """Gives the folder of a panel (made where it is not there) an embedded database that holds nothing yet."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked("database-template"):
        template = _template()
        os.utime(template)
        # `cp` keeps the owner: PostgreSQL's own, where we are root.
        subprocess.run(["cp", "-a", template / "postgres", data_dir / "postgres"], check=True)


def _template() -> Path:
    """The folder with the cluster, made where there is none for these migrations."""
    folder = CACHE / "databases"
    template = folder / _key()
    if not template.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as name:
            unfinished = Path(name) / "data"
            _make(unfinished)
            unfinished.rename(template)
        for old in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    return template


def _make(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o700)
    server = EmbeddedPostgres(data_dir, {"fsync": "off", "full_page_writes": "off"})
    try:
        url = server.start()
        environment = {
            **{key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "TMPDIR")},
            "PYTHONPATH": str(SOURCE / "src"),
            "DJANGO_SETTINGS_MODULE": "devflow.settings.test",  # with a master key of its own, which nothing is left of
            "DATABASE_URL": url,
        }
        subprocess.run([sys.executable, "-P", "-c", _MIGRATE], env=environment, check=True, timeout=100)
    finally:
        server.stop(10)


@cache
def _key() -> str:
    """Of all that makes the database: the packages, PostgreSQL among them, and our migrations with what they import."""
    packages = sorted(f"{found.name} {found.version}" for found in metadata.distributions())
    digest = hashlib.sha256("\n".join(packages).encode())
    for file in sorted((SOURCE / "src").rglob("*.py")):
        digest.update(f"{file.relative_to(SOURCE)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]
