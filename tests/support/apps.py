"""The sample applications in tests/integration/apps, one for each recipe, brought into a repository."""

from __future__ import annotations

from pathlib import Path

from .gitrepo import GitRepository
from .vps import Vps

APPS = Path(__file__).parents[1] / "integration/apps"


def commit_app(repository: GitRepository, name: str) -> str:
    """Commits the application `name`, a folder of APPS, as it is; returns the commit's hash."""
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


def commit_locked(repository: GitRepository, vps: Vps, *names: str) -> str:
    """Commits the applications of these names, one over the other, with a composer.lock; returns the commit's hash.

    The lock is written on the server: it names the checksums of the packages in the server's Composer repository.
    """
    for name in names:
        commit_app(repository, name)
    folder = vps.run("mktemp -d").stdout.strip()
    vps.run(f"git clone --quiet {repository.path} {folder}/app")
    vps.run(f"cd {folder}/app && composer update --quiet --no-install --no-scripts --no-interaction")
    lock = vps.run(f"cat {folder}/app/composer.lock && rm -rf {folder}").stdout
    return repository.commit({"composer.lock": lock}, message="Lock the dependencies")
