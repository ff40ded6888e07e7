"""A server made of temporary folders: runs the engine's scripts in a real shell, without SSH and without a panel."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from devflow.engine import script
from devflow.engine.output import Frame, JournalReader, Line
from devflow.engine.plan import Group, Plan, Site, Target, place
from devflow.engine.script import RunSecrets
from devflow.engine.task import Phase, Task

NONCE = "0123456789abcdef01234567"
ENVIRONMENT_ID = "e0e0e0e0"


@dataclass(frozen=True, slots=True)
class Ran:
    """What a script left: its exit code and its journal, taken apart."""

    code: int
    items: list[Line | Frame]

    @property
    def lines(self) -> list[str]:
        return [item.text for item in self.items if isinstance(item, Line)]

    @property
    def frames(self) -> list[tuple[str, str]]:
        """Kind and rest of each frame."""
        return [(item.kind, item.rest) for item in self.items if isinstance(item, Frame)]

    @property
    def explained(self) -> str:
        return "\n".join(rest for kind, rest in self.frames if kind == "explain")

    def notes(self, key: str) -> list[str]:
        notes = (rest.partition(" ") for kind, rest in self.frames if kind == "note")
        return [value for name, _, value in notes if name == key]


@dataclass(slots=True)
class Machine:
    """`shell` reads the scripts; `tools` is a folder that comes first in PATH, for stand-ins of programs."""

    folder: Path
    shell: str = "sh"
    secrets: RunSecrets = field(default_factory=RunSecrets)
    runs: int = 0

    def __post_init__(self) -> None:
        for path in (self.home, self.root, self.tools):
            path.mkdir(parents=True)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def root(self) -> Path:
        return self.folder / "srv" / "shop"

    @property
    def tools(self) -> Path:
        return self.folder / "tools"

    @property
    def target(self) -> Target:
        return Target(id="5e5e5e5e", name="web1")

    def site(self, **settings: object) -> Site:
        base = Site(
            name="shop production",
            environment_id=ENVIRONMENT_ID,
            repository=str(self.folder / "origin.git"),
            mirror="shop-1",
            branch="main",
            root=str(self.root),
            keep=3,
            targets=(self.target,),
        )
        return replace(base, **settings)  # type: ignore[arg-type]

    def tool(self, name: str, text: str) -> None:
        """Puts a stand-in of a program before the real one."""
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run(
        self, *commands: str, release: str = "r2", deployment: str = "d2", commit: str = "", **settings: object
    ) -> Ran:
        """Runs builtin commands, each as a step of its own, as one script; steps that fail end it."""
        site = self.site(**settings)
        tasks = [
            Task(name=f"task {number}", phase=Phase.PREFLIGHT, command=command, undo="", is_builtin=True)
            for number, command in enumerate(commands)
        ]
        plan = Plan("atomic", "static", release, commit, False, site, place(site, tasks))
        return self.carry_out(plan, plan.groups[0], deployment=deployment, commit=commit)

    def carry_out(self, plan: Plan, group: Group, *, deployment: str = "d2", commit: str = "") -> Ran:
        """Runs a group of a plan here, under a run id that was not there before."""
        self.runs += 1
        rendered = script.render(
            plan,
            group,
            plan.site.targets[0],
            deployment=deployment,
            commit=commit,
            secrets=self.secrets,
            nonce=NONCE,
        )
        folder = self.home / ".devflow" / "runs" / rendered.run_id
        if folder.exists():
            folder.rename(folder.with_name(f"{folder.name}-{self.runs}"))
        folder.mkdir(parents=True)
        (folder / "script").write_text(rendered.text)
        done = subprocess.run(
            [self.shell, str(folder / "script")],
            cwd=self.home,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=30,
            check=False,
        )
        reader = JournalReader(NONCE)
        return Ran(done.returncode, [*reader.feed(done.stdout), *reader.finish()])

    def environment(self) -> Mapping[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_SYSTEM": "/dev/null",
        }

    def release(self, name: str, **files: str) -> Path:
        """A release folder with these files."""
        folder = self.root / "releases" / name
        folder.mkdir(parents=True)
        for file, text in files.items():
            (folder / file).write_text(text)
        return folder

    @property
    def current(self) -> str:
        """Where `current` points, '' when it is not there."""
        link = self.root / "current"
        return str(link.readlink()) if link.is_symlink() else ""
