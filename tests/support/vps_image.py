"""The images of the test servers: made once by vps-image.sh (one to three minutes), kept outside the checkout.

Two more are made on top of the first (another minute each) and kept in the engine: one with Docker and HAProxy, for
the tests that need them, and one of a machine on which the panel is still to be installed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from .docker_engine import CACHE, Engine, EngineUnavailableError, as_root, ensure_engine, install_packages, locked

SUPPORT = Path(__file__).parent
SCRIPT = SUPPORT / "vps-image.sh"
DOCKER_SCRIPT = SUPPORT / "vps-docker-image.sh"
DOCKER_SECONDS = 600
BARE_SCRIPT = SUPPORT / "vps-bare-image.sh"
REQUIREMENTS = SUPPORT.parents[1] / "requirements/base.txt"
# Everything that the image is made from; a change in any of them makes another image.
SOURCES = (SCRIPT, SUPPORT / "vps-start.sh", SUPPORT / "vps-site.sh", *sorted((SUPPORT / "laravel").iterdir()))
KEPT_TARBALLS = 3


def ensure_image(engine: Engine) -> str:
    """The image's tag, with the image present in the engine. EngineUnavailableError when it cannot be made."""
    key = _key()
    tag = f"devflow-vps:{key}"
    if _is_present(engine, tag):
        return tag
    with locked("vps-image"):
        if not _is_present(engine, tag):
            tarball = CACHE / f"vps-{key}.tar.zst"
            if not tarball.exists():
                _build(tarball)
            _import(engine, tarball, tag)
    return tag


def ensure_docker_image(engine: Engine) -> str:
    """The tag of the image with Docker, HAProxy and socat; see `Vps(docker=True)`. Made as `ensure_image` makes its."""
    base = ensure_image(engine)
    key = hashlib.sha256(base.encode() + DOCKER_SCRIPT.read_bytes()).hexdigest()[:12]
    tag = f"devflow-vps-docker:{key}"
    if _is_present(engine, tag):
        return tag
    with locked("vps-docker-image"):
        if not _is_present(engine, tag):
            _add(engine, DOCKER_SCRIPT, base, tag, {})
    return tag


def ensure_bare_image(engine: Engine) -> str:
    """The tag of the image of a machine on which the panel is still to be installed, without a network."""
    base = ensure_image(engine)
    key = hashlib.sha256(base.encode() + BARE_SCRIPT.read_bytes() + REQUIREMENTS.read_bytes()).hexdigest()[:12]
    tag = f"devflow-vps-bare:{key}"
    if _is_present(engine, tag):
        return tag
    with locked("vps-bare-image"):
        if not _is_present(engine, tag):
            _add(engine, BARE_SCRIPT, base, tag, {REQUIREMENTS: "/srv/requirements.txt"})
    return tag


def _add(engine: Engine, script: Path, base: str, tag: str, files: Mapping[Path, str]) -> None:
    """The image that `script` makes of `base`, with these files at their paths in it."""
    name = f"{tag.partition(':')[0]}-{secrets.token_hex(4)}"
    # The host's network: its resolver and mirror served for the first image, too.
    engine.run("create", "--name", name, "--network", "host", "--interactive", base, "sh", "-s")
    try:
        for source, path in files.items():
            engine.run("cp", str(source), f"{name}:{path}")
        command = ("start", "--attach", "--interactive", name)
        done = engine.run(*command, stdin=script.read_text(), timeout_seconds=DOCKER_SECONDS, check=False)
        if done.returncode != 0:
            last_lines = "\n".join((done.stdout + done.stderr).splitlines()[-12:])
            raise EngineUnavailableError(f"{script.name} failed (exit {done.returncode}):\n{last_lines}")
        engine.run("commit", name, tag, timeout_seconds=DOCKER_SECONDS)
    finally:
        engine.run("rm", "--force", "--volumes", name, check=False)


def _key() -> str:
    bundle = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
    digest = hashlib.sha256(bundle.read_bytes() if bundle.exists() else b"")
    for source in SOURCES:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def _is_present(engine: Engine, tag: str) -> bool:
    return engine.run("image", "inspect", tag, check=False).returncode == 0


def _build(tarball: Path) -> None:
    install_packages("debootstrap", "debian-archive-keyring", "zstd")
    unfinished, log = tarball.with_suffix(".unfinished"), CACHE / "vps-image.log"
    with log.open("w") as output:
        done = subprocess.run(
            as_root("sh", str(SCRIPT), str(unfinished)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    if done.returncode != 0:
        last_lines = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
        raise EngineUnavailableError(f"{SCRIPT.name} failed (exit {done.returncode}, {log}):\n{last_lines}")
    unfinished.rename(tarball)
    for old in sorted(CACHE.glob("vps-*.tar.zst"), key=lambda path: path.stat().st_mtime)[:-KEPT_TARBALLS]:
        old.unlink()


def _import(engine: Engine, tarball: Path, tag: str) -> None:
    # Piped by a shell: 200 MB need not pass through Python.
    command = ["sh", "-c", 'zstd -dc "$0" | "$@"', str(tarball), *engine.command, "import", "-", tag]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EngineUnavailableError(f"docker import of {tarball}: {done.stderr.strip()}")


def main() -> int:
    """Engine and images, ready before the tests start: their timeouts need not allow for a build."""
    try:
        engine = ensure_engine()
        print(f"Test servers: {ensure_image(engine)}, {ensure_docker_image(engine)}, {ensure_bare_image(engine)}")
    except EngineUnavailableError as error:
        print(f"No test servers on this machine: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
