"""What the pages say of a repository's devflow.yml."""

from __future__ import annotations

from dataclasses import dataclass

from devflow.apps.deployments.settings import file_settings
from devflow.apps.projects.models import Environment
from devflow.core.errors import InvalidError


@dataclass(frozen=True, slots=True)
class FileState:
    """`is_read`: the project has it in force. `is_there`: the last look found one. `problems` are its faults, a line
    each; `settings` say what it sets, and where."""

    is_read: bool
    is_there: bool
    problems: list[str]
    settings: list[dict[str, str]]


def file_state(environment: Environment) -> FileState:
    """As of the last look into the repository."""
    detected = environment.detected
    is_read = environment.project.reads_file
    is_there = bool(detected.get("file") or detected.get("file_error"))
    problems: list[str] = []
    settings: list[dict[str, str]] = []
    if is_read and is_there:
        try:
            settings = file_settings(environment)
        except InvalidError as error:
            problems = str(error).splitlines()
    return FileState(is_read, is_there, problems, settings)
