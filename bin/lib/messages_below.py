"""The texts of the layers below the pages, which know no languages: apps/told.py translates them where they are shown.

Declared ones (labels of plug-ins, causes) are read from what declares them, messages of errors from the
code, a value in them as %(1)s, %(2)s … in its order.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CONTEXT: Final = "told"
_READ: Final = ("apps", "recipes", "strategies", "engine", "core", "commands/adopting.py")
_NOT_ON_PAGES: Final = (
    *("apps/accounts/keys.py", "apps/accounts/factor_secrets.py", "apps/migrating.py", "apps/replica.py"),
    *("apps/audit/sealing.py", "apps/readiness.py", "core/crypto.py", "core/keys.py", "apps/panel"),
)
"""What only the command line, a log or a program is told."""
_MESSAGE_NAMES: Final = ("message", "problem", "reason", "warning")
_OF_ARGUMENT: Final = {"_own": 3, "own": 3, "_tell": 2, "Alert": 1}
"""Calls whose arguments are told from this one on."""
_OF_KEYWORD: Final = ("summary", "undo", "why")
_ALL_TOLD: Final = (
    *("core/services.py", "apps/containers/cleaning.py", "apps/containers/selectors.py"),
    *("apps/deployments/announce.py", "apps/deployments/pushes.py", "apps/sources/services.py"),
)
"""Where each text of several words is for people."""
_OWN_LETTERS: Final = 6
"""With less text of its own, a message with values is found nowhere again."""


def write(folder: Path, source: Path) -> str:
    """A file of Python that xgettext can read, in the folder; its name."""
    texts = sorted({*_declared(), *_raised(source)})
    # A sign of percent in these is no placeholder where xgettext takes it for one.
    lines = [f"# xgettext:no-python-format\npgettext({CONTEXT!r}, {text!r})" for text in texts if _is_prose(text)]
    (folder / "told.py").write_text("\n".join(lines) + "\n", "utf-8")
    return "told.py"


def _declared() -> Iterator[str]:
    from devflow.apps.accounts.rights import GRANT_LABELS
    from devflow.apps.notifications.channels import CHANNELS
    from devflow.apps.notifications.events import EVENTS
    from devflow.apps.servers.models import THIS_MACHINE
    from devflow.apps.sources.api import APIS
    from devflow.apps.sources.providers import PROVIDERS
    from devflow.core.causes import RULES
    from devflow.engine.runner import CANCELLED
    from devflow.recipes import RECIPES
    from devflow.strategies import STRATEGIES

    for recipe in RECIPES.values():
        yield recipe.title
        yield from (text for option in recipe.options for text in (option.title, option.help))
        yield from (text for task in recipe.tasks for text in (task.summary, task.undo))
        yield from (task.reuse.told for task in recipe.tasks if task.reuse)
    for strategy in STRATEGIES.values():
        yield strategy.TITLE
        yield from (text for option in strategy.OPTIONS for text in (option.title, option.help))
    for kind in CHANNELS.values():
        yield from (kind.title, kind.summary)
        for field in kind.fields:
            yield from (field.label, field.help, *(title for _, title in field.choices))
    for rule in RULES:
        yield from (rule.cause.likely, rule.cause.next_step)
    yield from (event.title for event in EVENTS.values())
    yield from (api.token_help for api in APIS.values())
    yield from GRANT_LABELS.values()
    yield from (CANCELLED[1], THIS_MACHINE)
    for provider in PROVIDERS.values():
        yield from (provider.title, *map(_numbered, provider.steps))


def _raised(source: Path) -> Iterator[str]:
    for place in _READ:
        paths = [source / place] if place.endswith(".py") else sorted((source / place).rglob("*.py"))
        for path in paths:
            if "migrations" not in path.parts and not str(path.relative_to(source)).startswith(_NOT_ON_PAGES):
                tree = ast.parse(path.read_text("utf-8"))
                named = {*_MESSAGE_NAMES, *_named(tree)}
                if str(path.relative_to(source)) in _ALL_TOLD:
                    yield from (_numbered(text) for text in _prose(tree) if " " in text.strip())
                    continue
                for node in ast.walk(tree):
                    yield from _of_node(node, named)


def _named(tree: ast.AST) -> Iterator[str]:
    """Names under which texts are handed to the calls that tell them."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if isinstance(call.func, ast.Name) and call.func.id.endswith("Error"):
            yield from (each.id for each in call.args if isinstance(each, ast.Name) and each.id.isupper())
        for told in _told_by(call):
            yield from (node.id for node in ast.walk(told) if isinstance(node, ast.Name))


def _told_by(call: ast.Call) -> list[ast.expr]:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    by_place = call.args[_OF_ARGUMENT[name] :] if name in _OF_ARGUMENT else []
    is_message = name == "Message"
    by_name = [each.value for each in call.keywords if each.arg in (("title", "text") if is_message else _OF_KEYWORD)]
    return [*by_place, *by_name]


def _of_node(node: ast.AST, named: set[str]) -> Iterator[str]:
    match node:
        case ast.Call(func=ast.Name(id=name), args=arguments) if name.endswith("Error"):
            for argument in arguments:
                for value in argument.values if isinstance(argument, ast.Dict) else [argument]:
                    yield from _texts(value)
        case ast.Call() as call:
            for value in _told_by(call):
                yield from _texts(value)
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in named:
            yield from _texts(value)


def _texts(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.IfExp(body=one, orelse=other):
            yield from (*_texts(one), *_texts(other))
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            numbers = iter(range(1, len(parts) + 1))
            yield "".join(
                str(part.value).replace("%", "%%") if isinstance(part, ast.Constant) else f"%({next(numbers)})s"
                for part in parts
            )


def _prose(node: ast.AST) -> Iterator[str]:
    """All texts in it but docstrings."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Expr(value=ast.Constant()):
                pass
            case ast.Constant(value=str()) | ast.JoinedStr():
                yield from _texts(child)
                yield from (text for value in ast.iter_child_nodes(child) for text in _prose(value))
            case _:
                yield from _prose(child)


def _numbered(text: str) -> str:
    """A text that `format` fills in, with its places numbered."""
    numbers = iter(range(1, len(text)))
    return re.sub(r"\{\w+\}", lambda _: f"%({next(numbers)})s", text)


def _is_prose(text: str) -> bool:
    if "!r}" in text:  # is filled in by `format`
        return False
    if "\n" in text:  # is a program
        return False
    letters = re.sub(r"%\(\d+\)s|[^A-Za-z]", "", text)
    return len(letters) >= (_OWN_LETTERS if "%(" in text else 2)
