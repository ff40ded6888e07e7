"""The reference in docs/reference, made of what the code says: commands, the API's description, the table of rights.

With --check nothing is written; the exit status is 1 where a file is not what would be written.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import django

django.setup()

from typer.main import get_command  # noqa: E402

from devflow.api.urls import api  # noqa: E402
from devflow.apps.accounts import rights  # noqa: E402
from devflow.apps.accounts.models import Role, Scope, Team  # noqa: E402
from devflow.cli.main import app  # noqa: E402

FOLDER = Path(__file__).parents[2] / "docs/reference"
NOTE = "<!-- Written by bin/docs from the code. Do not edit. -->"
PREFIX = "/api/v1"


def main(arguments: list[str]) -> int:
    stale = []
    for name, lines in (("cli.md", cli_lines()), ("api.md", api_lines()), ("rights.md", rights_lines())):
        path, text = FOLDER / name, "\n".join([NOTE, "", *lines]).rstrip() + "\n"
        if path.exists() and path.read_text() == text:
            continue
        stale.append(str(path))
        if "--check" not in arguments:
            FOLDER.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if stale and "--check" in arguments:
        print(f"Not up to date: {', '.join(stale)}. Run bin/docs.")
        return 1
    return 0


# --- the command line -------------------------------------------------------------------------------------------------


def cli_lines() -> Iterator[str]:
    yield from (
        "# Command line",
        "",
        "Client commands talk to the panel at `DEVFLOW_URL` with the token `DEVFLOW_TOKEN`, or with what",
        "`devflow login` stored.",
        "`--json` prints one JSON document. `devflow --install-completion` completes commands in your shell.",
        "",
        "| exit status | means |",
        "| --- | --- |",
        "| 0 | done |",
        "| 1 | failed |",
        "| 2 | wrong usage |",
        "| 3 | rolled back |",
        "| 4 | cancelled or superseded |",
        "| 5 | waits for approval |",
        "| 6 | not allowed, or not logged in |",
        "| 7 | panel not reachable |",
        "",
    )
    yield from command_lines(get_command(app), ["devflow"])


def command_lines(command: Any, words: list[str]) -> Iterator[str]:
    """The section of a command, or of a group and all its commands."""
    context = command.make_context(words[-1], [], resilient_parsing=True)
    if hasattr(command, "list_commands"):
        if len(words) > 1:
            yield from (f"## {' '.join(words)}", "", command.help or "", "")
        for name in command.list_commands(context):
            yield from command_lines(command.get_command(context, name), [*words, name])
        return
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    options = [parameter for parameter in shown if parameter.param_type_name == "option" and parameter.name != "help"]
    usage = " ".join(
        [*words, *(argument_usage(argument) for argument in arguments), *(["[OPTIONS]"] if options else [])]
    )
    yield from (f"{'#' * min(len(words), 3)} {' '.join(words)}", "", command.help or "", "", "```", usage, "```", "")
    if rows := [*map(argument_row, arguments), *map(option_row, options)]:
        yield from ("| | |", "| --- | --- |", *rows, "")


def argument_usage(argument: Any) -> str:
    """What its own text marks as optional stays so: `[ENV] KEY…` is one argument to the parser."""
    name = str(argument.metavar or argument.name.upper())
    return name if argument.required or name.startswith("[") else f"[{name}]"


def argument_row(argument: Any) -> str:
    return f"| `{escaped(argument_usage(argument))}` | {escaped(getattr(argument, 'help', None) or '')} |"


def option_row(option: Any) -> str:
    names = ", ".join(option.opts) + "".join(f" / {name}" for name in option.secondary_opts)
    value = "" if option.is_flag else f" {option.metavar or option.name.rpartition('_')[2].upper()}"
    notes = ["Required."] if option.required else []
    if option.default not in (None, "", False) and not callable(option.default) and not option.is_flag:
        notes = [f"Default: {option.default}."]
    return f"| `{escaped(names + value)}` | {escaped(' '.join([option.help or '', *notes]))} |"


# --- the API ----------------------------------------------------------------------------------------------------------


def api_lines() -> Iterator[str]:
    schema = api.get_openapi_schema()
    yield from (
        "# API",
        "",
        f"JSON under `{PREFIX}`. Every panel describes it at `{PREFIX}/openapi.json` and, to try it out, at",
        f"`{PREFIX}/docs`.",
        "",
        "- Send `Authorization: Bearer TOKEN`. A token speaks for one team; its scopes and its user's role limit it.",
        "- Lists come in pages: `?limit=` (at most 200) and `?cursor=`, which is `next` of the page before.",
        "- A POST with an `Idempotency-Key` takes effect once; sent again within 24 hours it is answered alike.",
        "- Errors are `application/problem+json`: `title`, `status`, `detail`, `errors` by field, and an `id` that the",
        "  panel's log shares. 401 no token, 403 scope or role, 404 not yours or not there, 409 conflict,",
        "  422 invalid, 429 too many.",
        "",
    )
    by_tag: dict[str, list[str]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation["tags"][0], []).extend(operation_lines(method, path, operation))
    for tag, lines in by_tag.items():
        yield from (f"## {tag.capitalize()}", "", *lines)
    yield from ("## Documents", "")
    for name, document in sorted(schema["components"]["schemas"].items()):
        if not name.startswith(("Page_", "Paging")):
            yield from document_lines(name, document)


def operation_lines(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield from (
        f"### {method.upper()} {path.removeprefix(PREFIX)}",
        "",
        operation.get("description") or operation["summary"],
        "",
    )
    query = [
        each for each in operation["parameters"] if each["in"] == "query" and each["name"] not in ("limit", "cursor")
    ]
    takes = [f"`?{each['name']}=`" for each in query]
    if "requestBody" in operation:
        takes.append(schema_name(operation["requestBody"]["content"]["application/json"]["schema"]))
    gives = [
        f"{status} {answer(response)}".strip()
        for status, response in operation["responses"].items()
        if status != "default"
    ]
    yield from (*([f"Takes {', '.join(takes)}."] if takes else []), f"Answers {', or '.join(gives)}.", "")


def answer(response: dict[str, Any]) -> str:
    """What is answered: a document, or a kind of text; '' for nothing."""
    for kind, content in response.get("content", {}).items():
        return schema_name(content["schema"]) if content.get("schema") else f"`{kind}`"
    return ""


def schema_name(schema: dict[str, Any]) -> str:
    """A link to the document; `Page` of it for a list."""
    if schema.get("type") == "array":
        return f"a list of {schema_name(schema['items'])}"
    for option in schema.get("anyOf", []):
        if "$ref" in option:
            return f"{schema_name(option)} (may be left out)"
    name = schema["$ref"].rpartition("/")[2]
    if name.startswith("Page_"):
        name = name.removeprefix("Page_").removesuffix("_")
        return f"a page of [{name}](#{name.lower()})"
    return f"[{name}](#{name.lower()})"


def document_lines(name: str, document: dict[str, Any]) -> Iterator[str]:
    yield from (
        f"### {name}",
        "",
        *([" ".join(document["description"].split()), ""] if "description" in document else []),
    )
    yield from ("| field | type | |", "| --- | --- | --- |")
    for field, about in document["properties"].items():
        is_required = field in document.get("required", []) and name.endswith("In")
        text = f"{about.get('description', '')}{' Required.' if is_required else ''}".strip()
        yield f"| `{field}` | {escaped(type_name(about))} | {escaped(text)} |"
    yield ""


def type_name(about: dict[str, Any]) -> str:
    if "anyOf" in about:
        return " or ".join(map(type_name, about["anyOf"]))
    if "enum" in about:
        return ", ".join(map(repr, about["enum"]))
    if "$ref" in about:
        return schema_name(about)
    if about.get("type") == "array":
        return f"list of {type_name(about['items'])}"
    if isinstance(about.get("additionalProperties"), dict):
        return f"object of {type_name(about['additionalProperties'])}"
    return str(about.get("format") or about.get("type") or "any")


# --- rights -----------------------------------------------------------------------------------------------------------


def rights_lines() -> Iterator[str]:
    here = rights.Place(Team().pk)
    protected = rights.Place(Team().pk, is_protected=True)
    yield from (
        "# Rights",
        "",
        "Who may do what, as the panel decides it: on pages, in the API, on the command line and in live logs.",
        "How roles, grants and protected environments work together is told in the [guide](../guide/rights.md).",
        "",
        "## By role",
        "",
        "What a member may do in their team. ⊕: may be granted, for a project or an environment.",
        "",
        *matrix({role.label: rights.role_rights(role, here) for role in Role}, granted="⊕"),
        "## In a protected environment",
        "",
        "What is left of a role there. ⊕: only who has a grant.",
        "",
        *matrix({role.label: rights.role_rights(role, protected) for role in Role}, granted="⊕", of=rights.GRANTABLE),
        "## By a token's scope",
        "",
        "A token may do what both its scope and its user may, in the projects that it is for.",
        "",
        *matrix({f"`{scope}`": rights.SCOPE_RIGHTS[scope] for scope in Scope}),
    )


def matrix(columns: dict[str, frozenset[str]], granted: str = "", of: Sequence[str] = ()) -> Iterator[str]:
    """A table of actions with a mark for each that is allowed; `granted` marks those that are not, and can be."""
    yield f"| action | stands for | {' | '.join(columns)} |"
    yield "| --- | --- |" + " :-: |" * len(columns)
    for action, meaning in rights.ACTIONS.items():
        if not of or action in of:
            without = granted if action in rights.GRANTABLE else ""
            marks = ("✓" if action in held else without for held in columns.values())
            yield f"| `{action}` | {escaped(meaning)} | {' | '.join(marks)} |"
    yield ""


def escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
