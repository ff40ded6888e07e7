"""devflow.yml: what it says, every fault with its place, and how it is put together with the panel's settings."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from devflow.engine import devfile
from devflow.engine.devfile import DevFile, DevfileError, in_force
from devflow.engine.task import Option
from devflow.recipes import RECIPES
from tests.support.plans import RECIPE

SMALL = replace(
    RECIPE,
    options=(
        Option("php", "PHP", "Like 8.4.", pattern=r"\d+\.\d+"),
        Option("mode", "Mode", "How.", choices=("slow", "fast")),
    ),
)
EXAMPLE = """\
recipe: small              # else detected
shared: {files: [.env], folders: [storage]}
hooks: {before_activate: ["php artisan app:warm"], after_activate: []}
health: {path: /up, expect: 200, contains: "ok", timeout: 10s, retries: 5}
pipeline:                  # stages and jobs
  test: {jobs: {unit: {run: "vendor/bin/phpunit --log-junit junit.xml", reports: {junit: junit.xml}}}}
"""
PANEL: dict[str, Any] = {
    "recipe": "",
    "keep": 5,
    "shared_files": ["panel.ini"],
    "shared_folders": [],
    "health_url": "/panel",
    "health_status": 204,
    "health_text": "",
    "health_timeout_seconds": 9,
    "health_retries": 1,
    "recipe_options": {"php": "8.1", "mode": "slow"},
    "task_commands": {"build": "panel"},
    "hooks": [
        {"when": "before", "what": "build", "command": "panel before", "where": "all"},
        {"when": "after", "what": "reload", "command": "panel after", "where": "first"},
    ],
}


def parse(text: str, environment: str = "") -> DevFile:
    return devfile.parse(text, recipes={"small": SMALL}, environment=environment)


def values(text: str, environment: str = "") -> dict[str, tuple[Any, int]]:
    return {name: (setting.value, setting.line) for name, setting in parse(text, environment).settings.items()}


def faults(text: str) -> list[str]:
    with pytest.raises(DevfileError) as error:
        parse(text)
    assert str(error.value) == "\n".join(map(str, error.value.faults))
    return [f"{fault.line}:{fault.column} {fault.message}" for fault in error.value.faults]


# --- what it says -----------------------------------------------------------------------------------------------------


def test_the_example_of_the_interface() -> None:
    parsed = parse(EXAMPLE)
    assert parsed.recipe == "small"
    assert {name: (setting.value, setting.line) for name, setting in parsed.settings.items()} == {
        "recipe": ("small", 1),
        "shared_files": ([".env"], 2),
        "shared_folders": (["storage"], 2),
        "hooks.before_activate": (
            [{"when": "before", "what": "activate", "command": "php artisan app:warm", "where": "all"}],
            3,
        ),
        "hooks.after_activate": ([], 3),
        "health_url": ("/up", 4),
        "health_status": (200, 4),
        "health_text": ("ok", 4),
        "health_timeout_seconds": (10, 4),
        "health_retries": (5, 4),
    }
    assert parsed.warnings == ("devflow.yml:5: pipeline is not used yet by this version.",)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n"])
def test_an_empty_file_sets_nothing(text: str) -> None:
    assert parse(text) == DevFile()


def test_words_mean_what_a_reader_of_today_expects() -> None:
    text = "options: {php: 8.10, mode: fast}\nhooks:\n  after_reload: {run: ./tell.sh, on: first}\n"
    text += "commands: {build: yes}\n"
    assert values(text) == {
        "recipe_options.php": ("8.10", 1),
        "recipe_options.mode": ("fast", 1),
        "hooks.after_reload": ([{"when": "after", "what": "reload", "command": "./tell.sh", "where": "first"}], 3),
        "task_commands.build": ("yes", 4),
    }


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("10", 10), ("10s", 10), ("10 s", 10), ("2m", 120), ("5m", 300), ('"45"', 45), ("300s", 300)],
)
def test_a_timeout(written: str, seconds: int) -> None:
    assert values(f"health: {{timeout: {written}}}") == {"health_timeout_seconds": (seconds, 1)}


def test_a_whole_number_may_be_written_as_a_fraction() -> None:
    found = values("health: {expect: 2e2, retries: 5.0, timeout: 10.0}\nkeep: 3.0")
    numbers = {name: value for name, (value, _) in found.items()}
    assert numbers == {"health_status": 200, "health_retries": 5, "health_timeout_seconds": 10, "keep": 3}
    assert {type(value) for value in numbers.values()} == {int}


def test_one_environment_differs() -> None:
    text = """\
keep: 7
hooks: {before_build: one, after_build: two}
commands: {build: make}
health: {path: /up, expect: 204}
environments:
  staging: &staging
    keep: 2
    hooks:
      before_build: [three, four]
    commands: {build: false}
    health: false
  review: {<<: *staging, keep: 3}
"""
    assert values(text)["keep"] == (7, 1)
    assert values(text, "production") == values(text)
    staging = values(text, "staging")
    assert (staging["keep"], staging["task_commands.build"], staging["health_url"]) == ((2, 7), ("", 10), ("", 11))
    assert [hook["command"] for hook in staging["hooks.before_build"][0]] == ["three", "four"]
    assert (staging["hooks.after_build"][1], staging["health_status"]) == (2, (204, 4))
    review = values(text, "review")
    assert (review["keep"], review["hooks.before_build"][1]) == ((3, 12), 9)
    assert parse(text).environments == {"staging": 6, "review": 12}


# --- faults and their places ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("keep: 3\nkeeep: 3\n", ["2:1 the file has no setting 'keeep'; did you mean 'keep'?"]),
        ("a: 1\n\n", ["1:1 the file has no setting 'a'; choose from: recipe, options,"]),
        ("keep: 3\nkeep: 4\n", ["2:1 'keep' is here twice; the first is in line 1."]),
        ("keep: 1", ["1:1 keep cannot be 1. How many releases the servers keep, from 2 to 100."]),
        ("keep: many", ['1:1 keep cannot be "many".']),
        ("keep: 3.5", ["1:1 keep cannot be 3.5."]),
        ("recipe: smal", ["1:1 recipe cannot be \"smal\". Did you mean 'small'?"]),
        ("health:\n  path: up\n", ['2:3 health.path cannot be "up". A path like /up']),
        ("health:\n  path: /a\n  url: http://x\n", ["3:3 health has both path and url."]),
        ("health: {url: 'http://u:p@x'}", ["1:10 Give an address like https://shop.example.com/up"]),
        ("health: {expect: 99}", ["1:10 health.expect cannot be 99."]),
        ("health: {timeout: 6m}", ["1:10 health.timeout must be from 1 to 300 seconds."]),
        ("health: {timeout: soon}", ['1:10 health.timeout cannot be "soon".']),
        ("health: {exspect: 200}", ["1:10 health has no setting 'exspect'; did you mean 'expect'?"]),
        ("health: true", ["1:1 health cannot be true."]),
        ("shared:\n  files:\n    - ../x\n", ["3:7 '../x' is not valid: give a path inside the project"]),
        ("shared:\n  files: [a]\n  folders: [b, a]\n", ["3:3 'a' is both a shared file and a shared folder."]),
        ("hooks: {befor_x: y}", ["1:9 'befor_x' is no place of a hook: begin it with before_ or after_"]),
        ("hooks:\n  before_build:\n    - 3\n", ["3:7 hooks.before_build[0] cannot be 3. A shell command as text"]),
        (
            "hooks: {before_build: {run: x, on: frist}}",
            ["1:32 hooks.before_build.on cannot be \"frist\". Did you mean 'first'"],
        ),
        ("hooks: {before_build: {on: first}}", ["1:9 hooks.before_build needs run."]),
        ("hooks: {before_build: {run: x, uhr: y}}", ["1:32 hooks.before_build has no setting 'uhr'"]),
        ("hooks: {before_build: ''}", ['1:9 hooks.before_build cannot be "".']),
        ("hooks: {before_npm_ci: x, before_npm ci: y}", ["1:27 'before_npm ci' names the same place as line 1."]),
        ("commands: {build: true}", ["1:12 commands.build cannot be true. Shell text, or false."]),
        ("recipe: small\ncommands: {biuld: x}", ["2:12 the recipe small has no task 'biuld'. Did you mean 'build'?"]),
        ("recipe: small\noptions: {hpp: x}", ["2:11 the recipe small has no option 'hpp'. Did you mean 'php'?"]),
        ("recipe: small\noptions: {php: new}", ["2:11 'new' for php: This cannot be used here. Like 8.4."]),
        ("recipe: small\noptions: {mode: odd}", ["2:11 'odd' for mode: Choose one of: slow, fast."]),
        ("options: {mode: [fast]}", ['1:11 options.mode cannot be ["fast"].']),
        ("options: {mode: }", ["1:11 options.mode cannot be null."]),
        ("environments: {Live: {}}", ["1:16 'Live' is not the name of an environment"]),
        ("environments:\n  live:\n    recipe: small\n", ["3:5 environments.live has no setting 'recipe'"]),
        ("environments:\n  live: {shared: {files: [a], folders: [a]}}", ["2:31 'a' is both a shared file"]),
        ("pipeline: []", ["1:1 pipeline cannot be []."]),
        ("- keep: 3\n", ["1:1 the file must be a map of settings"]),
        ("just text", ["1:1 the file must be a map of settings"]),
        ("keep: 1\nhooks: x\n", ["1:1 keep cannot be 1.", '2:1 hooks cannot be "x".']),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, told: list[str]) -> None:
    found = faults(text)
    assert len(found) == len(told), found
    for line, beginning in zip(found, told, strict=True):
        assert line.startswith(beginning)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "keep: 3\n\thooks: {}\n",
            "2:1 this is not YAML: found character '\\t' that cannot start any token. Indent with",
        ),
        ("health: [", "1:10 this is not YAML: "),
        ("health: a: b", "1:10 this is not YAML: mapping values are not allowed here. Check the indentation"),
        ("keep: *three", "1:7 this is not YAML: found undefined alias 'three'."),
        ("keep: 3\n---\nkeep: 4", "2:1 this is not YAML: but found another document. Take out the second `---`."),
        ("keep: 'three", "1:13 this is not YAML: "),
        ("keep: 3\nhooks: \x00", "2:8 this character cannot be in the file."),
        ("keep: \N{REPLACEMENT CHARACTER}", "1:7 this character cannot be in the file. Save it as UTF-8."),
        ("keep: !!python/object/apply:os.system [ls]", "1:7 tags like !!python/object/apply:os.system have no meaning"),
        ("keep: !!int 3", "1:7 tags like !!int have no meaning here."),
        ("[a, b]: 3", "1:1 a key must be plain text."),
        ("<<: 3", "1:1 << takes a map"),
        (
            'hooks:\n  before_build: "echo a\\0b"',
            "2:17 the character \\u0000 cannot be in a text. Take the escape out.",
        ),
        ('health: {contains: "\\x00"}', "1:20 the character \\u0000 cannot be in a text."),
        ('commands:\n  "a\\0": b', "2:3 the character \\u0000 cannot be in a text."),
        ('hooks: {before_build: ["\\ud800"]}', "1:24 the character \\ud800 cannot be in a text."),
        ('keep: "\\U00110000"', "1:10 this is not YAML: the number here is too large."),
        ('keep: "\\UFFFFFFFF"', "1:10 this is not YAML: the number here is too large."),
        ("%YAML " + "9" * 5_000 + ".1\n---\nkeep: 3", "1:7 this is not YAML: the number here is too large."),
    ],
)
def test_what_is_no_yaml_of_ours(text: str, told: str) -> None:
    (found,) = faults(text)
    assert found.startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("#" * 65_537, "1:1 the file has more than 64 KB."),
        ("ä" * 40_000, "1:1 the file has more than 64 KB."),
        ("[" * 60_000, "1:1 the file is nested deeper than 20 levels."),
        ("{a: " * 15_000, "1:1 the file is nested deeper than 20 levels."),
        ("- " * 30_000, "1:1 the file is nested deeper than 20 levels."),
        ("a: &a [*a]", "1:4 the file is nested deeper than 20 levels."),
        ("a: &a\n  <<: *a", "1:4 the file is nested deeper than 20 levels."),
        ("a: &a\n  <<: [*a]", "1:4 the file is nested deeper than 20 levels."),
        ("a: &a\n  <<: {b: *a}", "1:4 the file is nested deeper than 20 levels."),
        (
            "a0: &a0 {x: 1}\n" + "".join(f"a{each + 1}: &a{each + 1} {{<<: *a{each}}}\n" for each in range(900)),
            "the file is nested deeper than 20 levels.",
        ),
        (
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
            "the file holds more than 10000 values; do its aliases repeat themselves?",
        ),
    ],
)
def test_a_file_that_would_take_all_time_and_memory_is_refused_at_once(text: str, told: str) -> None:
    began = time.monotonic()
    (found,) = faults(text)
    assert told in found
    assert time.monotonic() - began < 20


def test_the_values_alone_are_read_as_safely() -> None:
    with pytest.raises(DevfileError, match="1:4: the file is nested deeper than 20 levels"):
        devfile.document("a: &a\n  <<: *a")


def test_not_more_is_told_than_one_can_read() -> None:
    assert len(faults("".join(f"wrong{number}: 1\n" for number in range(1_000)))) == devfile.MOST_FAULTS


def test_a_file_without_recipe_is_checked_again_when_that_is_known() -> None:
    parsed = parse("commands: {biuld: x}\n")
    with pytest.raises(DevfileError, match=r"devflow.yml:1:12: the recipe small has no task 'biuld'"):
        parsed.check(SMALL)
    parse("commands: {build: x}\n").check(SMALL)


# --- with the panel's settings ----------------------------------------------------------------------------------------


def test_without_a_file_the_panel_is_in_force() -> None:
    found = in_force(PANEL, None)
    assert found.values == PANEL
    assert set(found.sources.values()) == {"panel", "detected"}
    assert found.sources["recipe"] == "detected"
    assert in_force({**PANEL, "recipe": "small"}, None).sources["recipe"] == "panel"


def test_what_the_file_names_is_in_force_and_the_rest_is_the_panels() -> None:
    text = """\
recipe: small
keep: 9
shared: {folders: [uploads]}
options: {mode: fast}
commands: {warm: false}
health: {expect: 200}
hooks:
  before_build: file before
  after_activate: [file one, file two]
"""
    found = in_force(PANEL, parse(text))
    assert found.values == {
        **PANEL,
        "recipe": "small",
        "keep": 9,
        "shared_folders": ["uploads"],
        "recipe_options": {"php": "8.1", "mode": "fast"},
        "task_commands": {"build": "panel", "warm": ""},
        "health_status": 200,
        "hooks": [
            {"when": "after", "what": "reload", "command": "panel after", "where": "first"},
            {"when": "before", "what": "build", "command": "file before", "where": "all"},
            {"when": "after", "what": "activate", "command": "file one", "where": "all"},
            {"when": "after", "what": "activate", "command": "file two", "where": "all"},
        ],
    }
    assert found.sources == {
        "recipe": "devflow.yml line 1",
        "keep": "devflow.yml line 2",
        "shared_files": "panel",
        "shared_folders": "devflow.yml line 3",
        "recipe_options.php": "panel",
        "recipe_options.mode": "devflow.yml line 4",
        "task_commands.build": "panel",
        "task_commands.warm": "devflow.yml line 5",
        "health_url": "panel",
        "health_status": "devflow.yml line 6",
        "health_text": "panel",
        "health_timeout_seconds": "panel",
        "health_retries": "panel",
        "hooks.before_build": "devflow.yml line 8",
        "hooks.after_activate": "devflow.yml line 9",
        "hooks.after_reload": "panel",
    }
    assert PANEL["recipe_options"] == {"php": "8.1", "mode": "slow"}, "the panel's own are left as they are"


def test_an_empty_list_takes_the_panels_hook_away() -> None:
    found = in_force(PANEL, parse("hooks: {before_build: []}"))
    assert [hook["command"] for hook in found.values["hooks"]] == ["panel after"]


def test_a_shared_file_of_the_panel_is_no_folder_of_the_file() -> None:
    with pytest.raises(DevfileError, match=r"devflow.yml:2:13: 'panel.ini' is both a shared file and a shared folder"):
        in_force(PANEL, parse("keep: 3\nshared:    {folders: [panel.ini]}"))


# --- the schema -------------------------------------------------------------------------------------------------------


def test_the_schema_is_one_and_knows_the_recipes() -> None:
    schema = devfile.schema(RECIPES)
    Draft202012Validator.check_schema(schema)
    assert schema["properties"]["recipe"]["enum"] == list(RECIPES)
    known = {option.name for recipe in RECIPES.values() for option in recipe.options}
    assert set(schema["$defs"]["options"]["properties"]) == known


def test_every_setting_of_the_schema_is_described() -> None:
    def undescribed(part: Any, where: str) -> list[str]:
        if not isinstance(part, dict):
            return []
        found = [
            f"{where}.{name}"
            for name, child in part.get("properties", {}).items()
            if "description" not in child and "$ref" not in child and name not in part.get("$defs", {})
        ]
        return found + [each for name, child in part.items() for each in undescribed(child, f"{where}.{name}")]

    assert undescribed(devfile.schema(RECIPES), "") == []
    assert all("description" in part for part in devfile.schema(RECIPES)["$defs"].values())
