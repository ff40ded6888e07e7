"""The examples of devflow.yml in the documents are valid, for us and by the published schema; every key is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from devflow.engine import devfile
from devflow.engine.hooks import HOOK_PHASES
from devflow.recipes import RECIPES

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
EXAMPLES = [
    example
    for name in ("devflow-yml.md", "hooks.md")
    for example in re.findall(r"```yaml\n(.*?)```", (GUIDE / name).read_text(), re.DOTALL)
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_valid(example: str) -> None:
    parsed = devfile.parse(example, recipes=RECIPES)
    assert parsed.settings
    Draft202012Validator(devfile.schema(RECIPES)).validate(devfile.document(example))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4


def test_every_key_of_the_schema_is_told_and_in_an_example() -> None:
    guide = (GUIDE / "devflow-yml.md").read_text()
    schema = devfile.schema(RECIPES)
    for name in schema["properties"]:
        assert re.search(rf"^\| .*`{name}[.`:]", guide, re.MULTILINE), name
        assert any(re.search(rf"^{name}:", example, re.MULTILINE) for example in EXAMPLES), name
    for name in schema["$defs"]["health"]["anyOf"][1]["properties"]:
        assert f"`health.{name}`" in guide


def test_every_phase_is_told() -> None:
    guide = (GUIDE / "hooks.md").read_text()
    assert [phase for phase in HOOK_PHASES if f"before, after `{phase.value}`" not in guide] == []


def test_faults_are_shown_as_they_are_told() -> None:
    shown = re.search(r"```text\n(.*?)```", (GUIDE / "devflow-yml.md").read_text(), re.DOTALL)
    text = "keep: 1\n\n\n\n\nhealth:\n  exspect: 200\n"
    with pytest.raises(devfile.DevfileError) as error:
        devfile.parse(text, recipes=RECIPES)
    assert shown
    assert str(error.value) == shown[1].strip()


def test_the_schemas_own_examples_are_valid() -> None:
    schema = devfile.schema(RECIPES)

    def examples(part: Any) -> list[tuple[Any, Any]]:
        if not isinstance(part, dict):
            return []
        own = [(part, example) for example in part.get("examples", []) if isinstance(part.get("examples"), list)]
        return own + [each for child in part.values() for each in examples(child)]

    for part, example in examples(schema):
        if "php" not in str(example):  # an option that is only told as an example
            Draft202012Validator({**part, "$defs": schema["$defs"]}).validate(example)
