"""Capistrano's standard deployment, as Debian packages it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench import work
from bench.common import measured
from tests.support.docker_engine import install_packages
from tests.support.vps import Vps


class Capistrano:
    """A project folder as `cap install` makes it; deploys to one server."""

    def __init__(self, vps: Vps, folder: Path, root: str, repository: str) -> None:
        install_packages("capistrano")
        self._folder = folder
        for name, text in _project(vps, root, repository).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def deploy(self) -> float:
        """`cap production deploy`; returns its seconds."""
        with measured() as watch:
            done = subprocess.run(["cap", "production", "deploy"], cwd=self._folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return watch.seconds


def _project(vps: Vps, root: str, repository: str) -> dict[str, str]:
    options = (
        f"keys: ['{vps.key_file}'], keys_only: true, port: {vps.port}, config: false, auth_methods: ['publickey'],"
        f" user_known_hosts_file: '{vps.known_hosts_file}', global_known_hosts_file: [], verify_host_key: :always"
    )
    return {
        "Capfile": (
            'require "capistrano/setup"\n'
            'require "capistrano/deploy"\n'
            'require "capistrano/scm/git"\n'
            "install_plugin Capistrano::SCM::Git\n"
        ),
        "config/deploy.rb": f"""\
set :application, "work"
set :repo_url, "{repository}"
set :branch, "{work.BRANCH}"
set :deploy_to, "{root}"
set :keep_releases, {work.KEEP}
set :linked_files, ["{work.SHARED_FILE}"]
set :linked_dirs, ["{work.SHARED_FOLDER}"]
namespace :deploy do
  after :updated, :build do
    on(roles(:app)) {{ within(release_path) {{ execute :sh, "-ec", "'{work.BUILD}'" }} }}
  end
end
""",
        "config/deploy/production.rb": (
            f'server "{vps.host}", user: "{vps.user}", roles: %w[app], ssh_options: {{ {options} }}\n'
        ),
    }
