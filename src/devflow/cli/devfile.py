"""Checks the `devflow.yml` of a repository where it lies, without a panel."""

from pathlib import Path
from typing import Annotated

import typer

from devflow.apps.projects.places import places_of
from devflow.cli.errors import WRONG_USAGE, ClientError
from devflow.cli.output import Json, print_json, tell
from devflow.engine import devfile, hooks
from devflow.engine.devfile import DevFile
from devflow.recipes import RECIPES


def check_file(
    path: Annotated[Path, typer.Argument(help="The file, or the folder that it is in.")] = Path("devflow.yml"),
    as_json: Json = False,
) -> None:
    """Check a devflow.yml. What is wrong is told with its line and column, and the command ends with status 2."""
    file = path / devfile.NAME if path.is_dir() else path
    try:
        text = file.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise ClientError(f"{file} cannot be read: {error.strerror}.", WRONG_USAGE) from None
    try:
        parsed = devfile.parse(text, recipes=RECIPES)
    except devfile.DevfileError as error:
        if as_json:
            found = [{"line": fault.line, "column": fault.column, "message": fault.message} for fault in error.faults]
            print_json({"valid": False, "faults": found, "warnings": []})
        for fault in error.faults if not as_json else ():
            tell(f"{file}:{fault.line}:{fault.column}: {fault.message}")
        raise typer.Exit(WRONG_USAGE) from None
    sections = [parsed, *(devfile.parse(text, recipes=RECIPES, environment=name) for name in parsed.environments)]
    warnings = list(dict.fromkeys([*parsed.warnings, *(told for each in sections for told in _hook_warnings(each))]))
    if as_json:
        print_json({"valid": True, "faults": [], "warnings": warnings})
        return
    for warning in warnings:
        tell(warning)
    print(f"{file} is valid.")


def _hook_warnings(file: DevFile) -> list[str]:
    """Hooks of the file that have no place with its recipe; where it names none, with any recipe."""
    of = [file.recipe] if file.recipe else list(RECIPES)
    known = tuple(dict.fromkeys(place for recipe in of for place in places_of(recipe)))
    return [
        f"{devfile.NAME}:{setting.line}: {told}"
        for name, setting in file.settings.items()
        if name.startswith("hooks.")
        for told in hooks.unknown_in(known, devfile.hooks_from(setting.value))
    ]
