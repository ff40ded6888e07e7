"""The documents agree with the code, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from devflow.apps.sources.providers import PROVIDERS
from devflow.cli.main import COMMANDS
from devflow.core import errors
from devflow.engine.task import Phase
from devflow.recipes import RECIPES

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)")


def read(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = [target for target in LINK.findall(document.read_text()) if "://" not in target]
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_every_recipe_is_told_in_the_order_in_which_it_is_tried() -> None:
    told = re.findall(r"^\| `(\w+)` \|", read("docs/guide/recipes.md"), re.MULTILINE)
    assert told == list(RECIPES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_a_recipe_shares_is_told(recipe: str) -> None:
    row = next(line for line in read("docs/guide/recipes.md").splitlines() if line.startswith(f"| `{recipe}` "))
    for path in (*RECIPES[recipe].shared_files, *RECIPES[recipe].shared_folders):
        assert f"`{path}`" in row


def test_every_command_is_in_the_reference() -> None:
    reference = read("docs/reference/cli.md")
    assert [command for command in COMMANDS if f"devflow {command}" not in reference] == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_has_a_page_that_the_guide_leads_to(provider: str) -> None:
    assert f"(providers/{provider}.md)" in read("docs/guide/webhooks.md")
    assert f"`devflow webhooks set shop {provider}`" in read(f"docs/guide/providers/{provider}.md")


def test_the_phases_that_take_commands_are_told() -> None:
    guide = read("docs/guide/projects.md")
    assert [phase for phase in Phase if phase not in (Phase.PREFLIGHT, Phase.UNDO) and phase.value not in guide] == []


def test_the_tree_of_errors_is_drawn_whole() -> None:
    """Every error of the module is in the drawing at its top, under the base that it has."""
    drawn = re.findall(r"^([│├└─ ]*)(\w+Error)\b", errors.__doc__ or "", re.MULTILINE)
    parents: list[str] = []
    found = {}
    for indent, name in drawn:
        parents[len(indent) // 4 :] = [name]
        found[name] = parents[-2] if len(parents) > 1 else "Exception"
    classes = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert found == {name: kind.__bases__[0].__name__ for name, kind in classes.items()}


def test_every_decision_has_context_decision_and_consequences() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [path.name[:4] for path in decisions] == [f"{number:04}" for number in range(1, len(decisions) + 1)]
    for path in decisions:
        text = path.read_text()
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequences")), path.name
