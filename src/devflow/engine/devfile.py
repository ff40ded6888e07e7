"""`devflow.yml`: read safely, checked with the line of each fault, and put together with the panel's settings."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib.resources import files
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from devflow.core import names
from devflow.core.errors import InvalidError
from devflow.engine import hooks
from devflow.engine.hooks import Hook
from devflow.engine.task import Recipe, Where

NAME = "devflow.yml"
LARGEST_BYTES = 65_536
MOST_VALUES = 10_000
"""Values that a file may hold once its aliases are followed: a few lines of aliases could stand for billions."""
DEEPEST = 20
MOST_FAULTS = 20
"""Faults that are told at once."""
LONGEST_FAULT = 600
MAPS = ("recipe_options", "task_commands")
"""Settings of which the file replaces single entries."""
_OTHERS = (
    *("recipe", "keep", "shared_files", "shared_folders"),
    *("health_url", "health_status", "health_text", "health_timeout_seconds", "health_retries"),
)

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What is wrong in a file, and where; lines and columns count from 1."""

    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{NAME}:{self.line}:{self.column}: {self.message}"

    def cut(self) -> Fault:
        """Told in bounded length: a key in a file can be as long as the file."""
        if len(self.message) <= LONGEST_FAULT:
            return self
        half = LONGEST_FAULT // 2
        return replace(self, message=f"{self.message[:half]}…{self.message[-half:]}")


class DevfileError(InvalidError):
    """The file cannot be used. The message has a line for each fault."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(fault.cut() for fault in sorted(set(faults))[:MOST_FAULTS])
        super().__init__("\n".join(map(str, self.faults)), {"file": str(self.faults[0])})


@dataclass(frozen=True, slots=True)
class Setting:
    """A value of the file, and where its key is."""

    value: Any
    line: int
    column: int = 1

    @property
    def source(self) -> str:
        return f"{NAME} line {self.line}"


@dataclass(frozen=True, slots=True)
class DevFile:
    """What the file sets, by the names that the panel has for it: `keep`, `recipe_options.php`, `hooks.before_reload`.

    `environments` are those with settings of their own, and their lines; `warnings` tell what is no fault and not
    used.
    """

    settings: Mapping[str, Setting] = field(default_factory=dict)
    environments: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def unknown_environments(self, known: Collection[str]) -> tuple[str, ...]:
        """What to tell of settings for environments that the project does not have."""
        found = ((name, line, hooks.nearest(name, known)) for name, line in self.environments.items())
        return tuple(
            f"{NAME}:{line}: there is no environment {name!r}, so this is not used."
            + (f" Did you mean {near!r}?" if near else f" There are {', '.join(sorted(known))}.")
            for name, line, near in found
            if name not in known
        )

    @property
    def recipe(self) -> str:
        return str(self.settings["recipe"].value) if "recipe" in self.settings else ""

    def check(self, recipe: Recipe) -> None:
        """Raises DevfileError where the file sets options or commands that the recipe does not have."""
        if faults := list(_recipe_faults(self.settings, recipe)):
            raise DevfileError(faults)


@dataclass(frozen=True, slots=True)
class InForce:
    """The settings in force; `sources` says of each where it is from: the panel, detected, or a line of the file."""

    values: Mapping[str, Any]
    sources: Mapping[str, str]


def schema(recipes: Mapping[str, Recipe]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the file, with the recipes and their options."""
    document = copy.deepcopy(_schema())
    document["properties"]["recipe"]["enum"] = list(recipes)
    known = {option.name: option for recipe in recipes.values() for option in recipe.options}
    kinds = document["$defs"]["options"]["additionalProperties"]["type"]
    document["$defs"]["options"]["properties"] = {
        name: {"description": f"{option.title}. {option.help}".strip(), "type": kinds} for name, option in known.items()
    }
    return document


def document(text: str) -> Any:
    """The values of the file as YAML 1.2 has them, None for none; not checked any further. Raises DevfileError."""
    return _read(text).document


def parse(text: str, *, recipes: Mapping[str, Recipe], environment: str = "") -> DevFile:
    """The file as it counts for `environment`, '' for none. All of it is checked. Raises DevfileError."""
    reader = _read(text)
    values = reader.document
    if values is None:
        return DevFile()
    found = [
        fault for error in Draft202012Validator(schema(recipes)).iter_errors(values) for fault in _say(error, reader)
    ]
    if found:
        raise DevfileError(found)
    whole = _Section(values, (), reader)
    parts = {
        name: _Section(part, ("environments", name), reader) for name, part in values.get("environments", {}).items()
    }
    found = [fault for section in (whole, *parts.values()) for fault in section.faults]
    if recipe := recipes.get(values.get("recipe", "")):
        found += [fault for section in (whole, *parts.values()) for fault in _recipe_faults(section.settings, recipe)]
    if found:
        raise DevfileError(found)
    warnings = []
    if "pipeline" in values:
        warnings.append(f"{NAME}:{reader.at(('pipeline',))[0]}: pipeline is not used yet by this version.")
    merged = {name: {**whole.settings, **part.settings} for name, part in parts.items()} | {"": whole.settings}
    if found := [fault for settings in merged.values() for fault in _shared_faults(settings)]:
        raise DevfileError(found)
    lines = {name: reader.at(("environments", name))[0] for name in parts}
    return DevFile(merged.get(environment, whole.settings), lines, tuple(warnings))


def hooks_from(kept: Iterable[Mapping[str, str]]) -> tuple[Hook, ...]:
    """Hooks from how the panel and a file keep them."""
    return tuple(Hook(hook["when"], hook["what"], hook["command"], Where(hook["where"])) for hook in kept)


def in_force(panel: Mapping[str, Any], file: DevFile | None) -> InForce:
    """The panel's settings with those of the file in their place; of hooks, place by place. Raises DevfileError."""
    values = {name: panel[name] for name in (*_OTHERS, *MAPS, "hooks")}
    values |= {name: dict(values[name]) for name in MAPS}
    sources = dict.fromkeys(_OTHERS, "panel")
    sources["recipe"] = "panel" if values["recipe"] else "detected"
    sources |= {f"{name}.{entry}": "panel" for name in MAPS for entry in values[name]}
    sources |= {f"hooks.{_place(hook)}": "panel" for hook in values["hooks"]}
    given = file.settings if file else {}
    if faults := _shared_faults(
        {**{name: Setting(panel[name], 0) for name in ("shared_files", "shared_folders")}, **given}
    ):
        raise DevfileError(faults)
    for name, setting in given.items():
        kind, _, entry = name.partition(".")
        if kind == "hooks":
            values["hooks"] = [hook for hook in values["hooks"] if _place(hook) != entry] + setting.value
        elif entry:
            values[kind][entry] = setting.value
        else:
            values[name] = setting.value
        sources[name] = setting.source
    return InForce(values, sources)


# --- from text to values ----------------------------------------------------------------------------------------------


def _read(text: str) -> _Reader:
    if len(text.encode(errors="replace")) > LARGEST_BYTES:
        raise DevfileError([Fault(1, 1, f"the file has more than {LARGEST_BYTES // 1024} KB. Make it shorter.")])
    odd = [yaml.reader.Reader.NON_PRINTABLE.search(text), re.search("\N{REPLACEMENT CHARACTER}", text)]
    if places := [found.start() for found in odd if found]:
        raise DevfileError([_fault_at(text, min(places), "this character cannot be in the file. Save it as UTF-8.")])
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise DevfileError([_not_yaml(error)]) from None
    except (ValueError, OverflowError):  # an escape beyond Unicode, the thousand digits of a %YAML
        mark = loader.get_mark()
        message = "this is not YAML: the number here is too large."
        raise DevfileError([Fault(mark.line + 1, mark.column + 1, message)]) from None
    except RecursionError:
        raise DevfileError([Fault(1, 1, f"the file is nested deeper than {DEEPEST} levels.")]) from None
    return _Reader(node)


def _fault_at(text: str, place: int, message: str) -> Fault:
    before = text[:place]
    return Fault(before.count("\n") + 1, place - (before.rfind("\n") + 1) + 1, message)


def _not_yaml(error: yaml.MarkedYAMLError) -> Fault:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or "it cannot be read"
    advice = next((advice for words, advice in _ADVICE.items() if words in problem), "")
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Fault(line, column, f"this is not YAML: {problem}.{advice}")


_ADVICE = {
    "'\\t'": " Indent with spaces, not with tabs.",
    "mapping values are not allowed": " Check the indentation, or put a value that has ': ' in it into quotes.",
    "could not find expected ':'": " A setting is `name: value`; check the line before.",
    "but found another document": " Take out the second `---`.",
    "undefined alias": " An alias needs an anchor of its name before it; put a value that begins with * into quotes.",
    "expected <block end>": " Check the indentation: what belongs together begins in the same column.",
}


class _Loader(yaml.SafeLoader):
    """Finds the structure alone: `_plain` says what a word means, so that `on` and 8.10 stay what they are."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the library's own name and type


class _Reader:
    """The values of a file with the places of their keys. Raises DevfileError."""

    def __init__(self, node: yaml.Node | None) -> None:
        self._marks: dict[Path, tuple[int, int]] = {(): (1, 1)}
        self._texts: dict[Path, str] = {}
        self._left = MOST_VALUES
        self._depth = 0
        self.document: Any = None if node is None else self._value(node, ())

    def at(self, path: Path) -> tuple[int, int]:
        """Line and column of the key (or list entry) at `path`, or of what holds it."""
        while path not in self._marks:
            path = path[:-1]
        return self._marks[path]

    def text(self, path: Path) -> str:
        """A value as it is written in the file."""
        return self._texts[path]

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._left -= 1
        if self._left < 0:
            raise _refuse(node, f"the file holds more than {MOST_VALUES} values; do its aliases repeat themselves?")
        if self._depth > DEEPEST:
            raise _refuse(node, f"the file is nested deeper than {DEEPEST} levels.")
        if node.tag not in _TAGS:
            raise _refuse(
                node, f"tags like {node.tag.replace('tag:yaml.org,2002:', '!!')} have no meaning here. Take it out."
            )
        if isinstance(node, yaml.MappingNode | yaml.SequenceNode):
            self._depth += 1  # not the path's length: what is merged has the path of what it is merged into
            held = self._map(node, path) if isinstance(node, yaml.MappingNode) else self._list(node, path)
            self._depth -= 1
            return held
        _check_characters(node)
        self._texts[path] = node.value
        is_quoted = isinstance(node, yaml.ScalarNode) and node.style is not None
        return node.value if is_quoted else _plain(node.value)

    def _list(self, node: yaml.SequenceNode, path: Path) -> list[Any]:
        return [self._entry(child, (*path, number)) for number, child in enumerate(node.value)]

    def _entry(self, node: yaml.Node, path: Path) -> Any:
        self._marks[path] = _place_of(node)
        return self._value(node, path)

    def _map(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        own: dict[str, int] = {}
        for key, value in sorted(node.value, key=lambda pair: not _is_merge(pair[0])):
            if _is_merge(key):
                for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if not isinstance(part, yaml.MappingNode):
                        raise _refuse(key, "<< takes a map, like <<: *name.")
                    result |= {name: each for name, each in self._value(part, path).items() if name not in result}
                continue
            if not isinstance(key, yaml.ScalarNode) or key.tag not in _TAGS:
                raise _refuse(key, "a key must be plain text.")
            _check_characters(key)
            if key.value in own:
                raise _refuse(
                    key, f"{key.value!r} is here twice; the first is in line {own[key.value]}. Keep one of them."
                )
            own[key.value] = key.start_mark.line + 1
            self._marks[*path, key.value] = _place_of(key)
            result[key.value] = self._value(value, (*path, key.value))
        return result


_TAGS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))


def _is_merge(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value == "<<"


def _place_of(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _refuse(node: yaml.Node, message: str) -> DevfileError:
    return DevfileError([Fault(*_place_of(node), message)])


def _check_characters(node: yaml.Node) -> None:
    """An escape can write what the text itself may not have, and no shell and no database takes."""
    if odd := re.search("[\0\ud800-\udfff]", node.value):
        raise _refuse(node, f"the character \\u{ord(odd[0]):04x} cannot be in a text. Take the escape out.")


def _plain(text: str) -> Any:
    """A word without quotes, by the core schema of YAML 1.2 (section 10.3.2)."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if re.fullmatch(r"[-+]?[0-9]{1,18}", text):
        return int(text)
    if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text):
        return float(text)
    return text


# --- by the schema ----------------------------------------------------------------------------------------------------


@cache
def _schema() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(files("devflow.engine").joinpath("devflow.schema.json").read_bytes())
    return document


def _say(error: ValidationError, reader: _Reader) -> Iterator[Fault]:
    """What a person is told of what the schema refuses."""
    path = tuple(error.absolute_path)
    schema_of: dict[str, Any] = error.schema if isinstance(error.schema, dict) else {}
    where = _shown(path)
    if "propertyNames" in error.absolute_schema_path:
        key = str(error.instance)
        yield Fault(*reader.at((*path, key)), _wrong_name(key, where))
    elif error.validator == "additionalProperties":
        known = list(schema_of.get("properties", {}))
        for key in map(str, error.instance if isinstance(error.instance, dict) else ()):
            if key not in known:
                yield Fault(*reader.at((*path, key)), _unknown(key, where, known))
    elif error.validator == "required":
        yield Fault(*reader.at(path), f"{where} needs {' and '.join(schema_of['required'])}.")
    elif error.validator == "not":
        yield Fault(*reader.at((*path, "url")), f"{where} has both path and url. Keep one of them.")
    elif not path:
        yield Fault(1, 1, "the file must be a map of settings, like recipe: laravel.")
    elif error.validator == "anyOf" and (meant := _meant(error)):
        for child in meant:
            yield from _say(child, reader)
    else:
        said = json.dumps(error.instance, ensure_ascii=False, default=str)
        said = said if len(said) <= 60 else said[:57] + "…"
        allowed = schema_of.get("enum")
        near = hooks.nearest(str(error.instance), map(str, allowed)) if allowed else ""
        choice = f" Did you mean {near!r}?" if near else f" Choose from: {', '.join(allowed)}." if allowed else ""
        yield Fault(*reader.at(path), f"{where} cannot be {said}.{choice} {schema_of.get('description', '')}".strip())


def _meant(error: ValidationError) -> list[ValidationError]:
    """The errors of the one form among several that the value is of; none where it is of no form at all."""
    branches: dict[Any, list[ValidationError]] = {}
    for child in error.context or ():
        branches.setdefault(child.relative_schema_path[0], []).append(child)
    fitting = [branch for branch in branches.values() if not any(map(_is_of_another_kind, branch))]
    return fitting[0] if len(fitting) == 1 else []


def _is_of_another_kind(error: ValidationError) -> bool:
    if error.relative_path:
        return False
    return error.validator in ("type", "const") or (error.validator == "anyOf" and not _meant(error))


def _shown(path: Path) -> str:
    """`hooks.before_activate[0]`"""
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    return shown or "the file"


def _unknown(key: str, where: str, known: list[str]) -> str:
    near = hooks.nearest(key, known)
    advice = f"did you mean {near!r}?" if near else f"choose from: {', '.join(known)}."
    return f"{'the file' if where == 'the file' else where} has no setting {key!r}; {advice}"


def _wrong_name(key: str, where: str) -> str:
    if where.rpartition(".")[2] == "hooks":
        return f"{key!r} is no place of a hook: begin it with before_ or after_, like before_activate."
    return f"{key!r} is not the name of an environment: lower-case letters, digits and hyphens."


# --- what a schema cannot say -----------------------------------------------------------------------------------------


class _Section:
    """The settings of the file's top, or of one of its environments, and what is wrong with them."""

    def __init__(self, part: Mapping[str, Any], path: Path, reader: _Reader) -> None:
        self._reader = reader
        self.settings: dict[str, Setting] = {}
        self.faults: list[Fault] = []
        for name, value in part.items():
            put = getattr(self, f"_{name}", None)
            if put:
                put(value, (*path, name))

    def _put(self, name: str, value: Any, path: Path) -> None:
        self.settings[name] = Setting(value, *self._reader.at(path))

    def _recipe(self, value: str, path: Path) -> None:
        self._put("recipe", value, path)

    def _keep(self, value: int, path: Path) -> None:
        self._put("keep", int(value), path)

    def _options(self, value: Mapping[str, Any], path: Path) -> None:
        for name in value:
            self._put(f"recipe_options.{name}", self._reader.text((*path, name)), (*path, name))

    def _commands(self, value: Mapping[str, Any], path: Path) -> None:
        for task, command in value.items():
            self._put(f"task_commands.{task}", (command or "").strip(), (*path, task))

    def _shared(self, value: Mapping[str, list[str]], path: Path) -> None:
        for kind, paths in value.items():
            clean = [
                self._checked((*path, kind, number), partial(names.relative_path, each.strip(), "path"))
                for number, each in enumerate(paths)
            ]
            self._put(f"shared_{kind}", list(dict.fromkeys(filter(None, clean))), (*path, kind))

    def _health(self, value: Mapping[str, Any] | bool, path: Path) -> None:
        if not isinstance(value, Mapping):
            self._put("health_url", "", path)
            return
        for name, each in value.items():
            here = (*path, name)
            if name in ("path", "url"):
                self._put("health_url", self._checked(here, partial(names.health_address, each, name)), here)
            elif name == "timeout":
                self._put("health_timeout_seconds", self._seconds(each, here), here)
            else:
                called = {"expect": "health_status", "contains": "health_text"}.get(name, f"health_{name}")
                self._put(called, int(each) if isinstance(each, float) else each, here)

    def _seconds(self, value: int | str, path: Path) -> int:
        number, minutes = re.match(r"\d+", str(value)), str(value).endswith("m")
        seconds = int(number[0]) * (60 if minutes else 1) if number else 0
        if not 1 <= seconds <= 300:
            self.faults.append(Fault(*self._reader.at(path), f"{_shown(path)} must be from 1 to 300 seconds."))
        return seconds

    def _hooks(self, value: Mapping[str, Any], path: Path) -> None:
        for place, given in value.items():
            when, _, what = place.partition("_")
            name = f"hooks.{when}_{hooks.key(what)}"
            if name in self.settings:
                message = f"{place!r} names the same place as line {self.settings[name].line}. Keep one of them."
                self.faults.append(Fault(*self._reader.at((*path, place)), message))
            listed = [
                {"when": when, "what": what, "command": hook["run"].strip(), "where": hook.get("on", "all")}
                for hook in map(_as_map, given if isinstance(given, list) else [given])
            ]
            self._put(name, listed, (*path, place))

    def _checked(self, path: Path, check: Callable[[], str]) -> str:
        try:
            return check()
        except InvalidError as error:
            self.faults.append(Fault(*self._reader.at(path), next(iter(error.errors.values()), str(error))))
            return ""


def _as_map(hook: str | dict[str, str]) -> dict[str, str]:
    return {"run": hook} if isinstance(hook, str) else hook


def _place(hook: Mapping[str, str]) -> str:
    return f"{hook['when']}_{hooks.key(hook['what'])}"


def _shared_faults(settings: Mapping[str, Setting]) -> list[Fault]:
    shared = [settings[name] for name in ("shared_files", "shared_folders") if name in settings]
    both = set(shared[0].value) & set(shared[1].value) if len(shared) == 2 else set()
    place = max(shared, key=lambda setting: (setting.line, setting.column)) if both else None
    message = "{path!r} is both a shared file and a shared folder. Keep one of them."
    return [Fault(place.line, place.column, message.format(path=path)) for path in sorted(both) if place and place.line]


def _recipe_faults(settings: Mapping[str, Setting], recipe: Recipe) -> Iterator[Fault]:
    options = {option.name: option for option in recipe.options}
    tasks = [task.name for task in recipe.tasks]
    for name, setting in settings.items():
        kind, _, entry = name.partition(".")
        message = ""
        if kind == "task_commands" and entry not in tasks:
            message = _unknown_of(recipe, "task", entry, tasks)
        elif kind == "recipe_options" and entry not in options:
            message = _unknown_of(recipe, "option", entry, list(options))
        elif kind == "recipe_options":
            problem = options[entry].problem(setting.value)
            message = f"{setting.value!r} for {entry}: {problem}" if problem else ""
        if message:
            yield Fault(setting.line, setting.column, message)


def _unknown_of(recipe: Recipe, kind: str, entry: str, known: list[str]) -> str:
    near = hooks.nearest(entry, known)
    advice = f"Did you mean {near!r}?" if near else f"It has: {', '.join(known)}." if known else f"It has no {kind}s."
    return f"the recipe {recipe.name} has no {kind} {entry!r}. {advice}"
