"""The sample applications work by hand, as the recipes run them: what fails in a deployment is ours."""

from __future__ import annotations

from pathlib import Path

from tests.support.apps import commit_app, commit_laravel
from tests.support.gitrepo import GitRepository
from tests.support.vps import Vps

LARAVEL_ENV = "APP_KEY=base64:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nDB_DATABASE=/srv/www/laravel.sqlite\n"


def _checkout(vps: Vps, name: str, work: Path) -> str:
    """The application at /srv/www/<name> of the server, cloned there from its repository."""
    repository = GitRepository.on_server(vps, f"/home/{vps.user}/{name}.git", work)
    if name == "laravel":
        commit_laravel(repository, vps)
    else:
        commit_app(repository, name)
    vps.run(f"git clone --quiet {repository.path} /srv/www/{name}")
    return f"/srv/www/{name}"


def test_laravel(vps: Vps, tmp_path: Path) -> None:
    folder = _checkout(vps, "laravel", tmp_path)
    vps.put(LARAVEL_ENV, f"{folder}/.env", mode="600")
    vps.run(f"touch /srv/www/laravel.sqlite && cd {folder} && composer install --quiet --no-dev --optimize-autoloader")
    for command in ("migrate --force", "config:cache", "route:cache", "view:cache", "queue:restart"):
        vps.run(f"cd {folder} && php artisan {command}")
    vps.serve(f"{folder}/public", php=True)
    assert vps.get("/up").text == "ok"
    first, second = vps.get("/").text, vps.get("/").text
    assert "Laravel sample" in first
    assert first != second  # each visit is counted in the database


def test_php_with_composer(vps: Vps, tmp_path: Path) -> None:
    folder = _checkout(vps, "php", tmp_path)
    vps.run(f"cd {folder} && composer install --quiet --no-dev --optimize-autoloader")
    vps.serve(f"{folder}/public", php=True)
    assert (vps.get("/").text, vps.get("/up").text) == ("PHP sample", "ok")


def test_node(vps: Vps, tmp_path: Path) -> None:
    folder = _checkout(vps, "node", tmp_path)
    vps.run(f"cd {folder} && npm ci --silent && npm run --silent build")
    vps.serve(f"{folder}/dist")
    assert "Node sample" in vps.get("/").text


def test_python(vps: Vps, tmp_path: Path) -> None:
    folder = _checkout(vps, "python", tmp_path)
    vps.run(f"cd {folder} && python3 -m venv .venv && .venv/bin/pip install --quiet -r requirements.txt")
    vps.run(f"cd {folder} && PORT=8123 setsid --fork .venv/bin/python wsgi.py >/dev/null 2>&1 </dev/null")
    answer = vps.run("curl --silent --retry 20 --retry-connrefused --retry-delay 0 http://127.0.0.1:8123/up")
    assert answer.stdout == "ok"


def test_static(vps: Vps, tmp_path: Path) -> None:
    vps.serve(_checkout(vps, "static", tmp_path))
    assert "Static sample" in vps.get("/").text
