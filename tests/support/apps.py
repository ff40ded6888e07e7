"""The sample applications in tests/integration/apps, one for each recipe, brought into a repository."""

from __future__ import annotations

from pathlib import Path

from .gitrepo import GitRepository
from .vps import Vps

APPS = Path(__file__).parents[1] / "integration/apps"


def commit_app(repository: GitRepository, name: str) -> str:
    """Commits the application `name` (static, php, laravel, node, python) as it is; returns the commit's hash."""
    return repository.commit_folder(APPS / name)


def commit_laravel(repository: GitRepository, vps: Vps) -> str:
    """Commits the Laravel application with its composer.lock; returns the commit's hash.

    The lock is written on the server: it names the checksums of the packages in the server's Composer repository.
    """
    commit_app(repository, "laravel")
    folder = vps.run("mktemp -d").stdout.strip()
    vps.put((APPS / "laravel/composer.json").read_text(), f"{folder}/composer.json")
    vps.run(f"cd {folder} && composer update --quiet --no-install --no-scripts --no-interaction")
    lock = vps.run(f"cat {folder}/composer.lock && rm -r {folder}").stdout
    return repository.commit({"composer.lock": lock}, message="Lock the dependencies")
