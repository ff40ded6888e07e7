"""A site file of nginx that somebody wrote by hand, made into the template of an environment's own site file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from devflow.commands.nginx import DOMAINS, UPSTREAM
from devflow.core.errors import ConflictError

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]|(?:\\.|\$\{[^}]*\}|[^\s{};\\])+""", re.DOTALL
)
_HERE = re.compile(r"(127\.\d+\.\d+\.\d+|localhost|\[::1\]|0\.0\.0\.0)(:\d+)?|unix:.+")
_MAIN = frozenset({"http", "events", "stream", "user", "worker_processes"})
_NO_NAMES = frozenset({"_", '""', "''"})


@dataclass(frozen=True, slots=True)
class Adopted:
    """`notes` say what was changed in the text, and what to look at."""

    template: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Statement:
    """A directive with its place in the text; `end` of one that opens a block is that of the block."""

    words: tuple[str, ...]
    start: int
    end: int
    last: int
    """Where its last word begins."""

    @property
    def name(self) -> str:
        return self.words[0]


def adopted(text: str, *, domains: Iterable[str], serves: str, folder: str = "") -> Adopted:
    """The text of the file as a template for an environment that `serves` upstream, php or static (from `folder`).

    The address of the application becomes that of the release that is live; for files, the one root becomes `folder`.
    Raises ConflictError with what to do where that cannot be.
    """
    text = text.replace("\r\n", "\n")
    statements = list(_statements(text))
    _refuse_others(statements, {domain.lower() for domain in domains})
    if serves == "upstream":
        return _of_application(text, statements)
    return _of_files(text, statements, folder, is_php=serves == "php")


def follow_domains(text: str, domains: Iterable[str]) -> str:
    """The template with `@domains@` where a `server_name` has all of the domains, one after the other: so that it goes
    on having them when they are changed. A block for some of them, like one that redirects, stays as it is."""
    wanted = [domain.lower() for domain in domains]
    edits = []
    for each in _statements(_without_listen6(text)):
        names = [name.lower() for name in each.words[1:]]
        begins = [start for start in range(len(names)) if names[start : start + len(wanted)] == wanted]
        if each.name == "server_name" and wanted and begins and "#" not in text[each.start : each.end]:
            before, after = each.words[1 : 1 + begins[0]], each.words[1 + begins[0] + len(wanted) :]
            edits.append((each.start, each.end, " ".join(["server_name", *before, DOMAINS, *after]) + ";"))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def unnamed(template: str, domains: Iterable[str]) -> tuple[str, ...]:
    """Those of the domains that an own site file does not serve by name: nginx would give their requests to whatever
    is its default. None where the file serves all that comes (`default_server`), or names nothing at all."""
    statements = list(_statements(_without_listen6(template)))
    names = [name.strip("\"'").lower() for each in statements if each.name == "server_name" for name in each.words[1:]]
    takes_all = any(each.name == "listen" and "default_server" in each.words for each in statements)
    if not names or takes_all:
        return ()
    return tuple(domain for domain in domains if not any(_serves(name, domain.lower()) for name in names))


def _without_listen6(template: str) -> str:
    """As long as before, without the placeholder that is a directive or nothing, and has no semicolon."""
    return template.replace("@listen6@", " " * len("@listen6@"))


def _serves(name: str, domain: str) -> bool:
    """Whether nginx takes a request for the domain by that word of a `server_name`; of a regular expression that
    cannot be told."""
    if name in (domain, DOMAINS) or name.startswith("~"):
        return True
    if name.startswith("."):
        return domain == name[1:] or domain.endswith(name)
    if name.startswith("*."):
        return domain.endswith(name[1:])
    return name.endswith(".*") and domain.startswith(name[:-1])


def _refuse_others(statements: list[_Statement], domains: set[str]) -> None:
    """The file is this environment's alone."""
    if any(each.name in _MAIN for each in statements):
        raise ConflictError(
            "This file is nginx's main configuration. Move the server of this site to a file of its own "
            "(/etc/nginx/conf.d/<name>.conf), reload nginx, and read the servers again."
        )
    names = [word for each in statements if each.name == "server_name" for word in each.words[1:]]
    others = sorted({name for name in names if name.lower() not in domains and name not in _NO_NAMES})
    if others:
        raise ConflictError(
            f"This file serves {', '.join(others)} too, which this environment does not. Give the environment these "
            "domains, or move them to a file of their own, reload nginx, and read the servers again."
        )


def _of_application(text: str, statements: list[_Statement]) -> Adopted:
    groups = {each.words[1]: each for each in statements if each.name == "upstream" and len(each.words) > 1}
    passes = [each for each in statements if each.name == "proxy_pass" and len(each.words) > 1]
    own: dict[str, list[_Statement]] = {}
    for each in passes:
        address = _address(each.words[1])
        if address in groups or _HERE.fullmatch(address):
            own.setdefault(address, []).append(each)
    if not own:
        raise ConflictError(
            "This file passes no requests on to an application on the server (proxy_pass http://127.0.0.1:PORT). "
            "Write the own site file in the settings by hand, with proxy_pass http://@upstream@; in it."
        )
    if len(own) > 1:
        raise ConflictError(
            f"This file passes requests on to {', '.join(own)}: which of them is this application cannot be told. "
            "Write the own site file in the settings by hand, with proxy_pass http://@upstream@; in place of its address."
        )
    [(address, mine)] = own.items()
    edits = [(each.last, each.last + len(each.words[-1]), _passed(each.words[-1], address)) for each in mine]
    notes = [f"http://{address} became http://{UPSTREAM}: the release that is live."]
    if group := groups.get(address):
        edits.append((group.start, group.end, ""))
        notes.append(
            f"The upstream {address} was taken out: the panel writes its own. Look whether something is missed."
        )
    left = sorted({_address(each.words[1]) for each in passes} - {address})
    if left:
        notes.append(f"Requests to {', '.join(left)} are left as they are.")
    notes.append(f"What listens at {address} goes on running: stop it when the first deployment has gone well.")
    return Adopted(_edited(text, edits), tuple(notes))


def _of_files(text: str, statements: list[_Statement], folder: str, *, is_php: bool) -> Adopted:
    roots = [each for each in statements if each.name == "root" and len(each.words) > 1]
    found = sorted({each.words[1].strip("\"'") for each in roots})
    edits = []
    if not found:
        notes = ["There is no root in this file: see that what it serves is the release."]
    elif found == [folder]:
        notes = [f"The root {folder} is left as it is."]
    elif len(found) == 1:
        quoted = folder if re.fullmatch(r"[\w./@+-]*", folder) else f'"{folder}"'
        edits = [(each.last, each.last + len(each.words[-1]), quoted) for each in roots]
        notes = [f"The root {found[0]} became {folder}: what is served is the release, no longer that folder."]
    else:
        notes = [f"The roots {', '.join(found)} are left as they are: point to {folder} what is to be the release."]
    if is_php and "$realpath_root" not in text:
        notes.append(
            "PHP is not called by the real path of the release ($realpath_root): it may go on with the code before "
            "for a while. Set SCRIPT_FILENAME $realpath_root$fastcgi_script_name and DOCUMENT_ROOT $realpath_root."
        )
    return Adopted(_edited(text, edits), tuple(notes))


def _address(passed: str) -> str:
    """Host and port, or the name of an upstream, of what `proxy_pass` has; '' of another scheme than http."""
    passed = passed.strip("\"'")
    if not passed.startswith("http://"):
        return ""
    rest = passed.removeprefix("http://")
    if rest.startswith("unix:"):
        return ":".join(rest.split(":")[:2])
    return re.split(r"[/?$]", rest, maxsplit=1)[0]


def _passed(passed: str, address: str) -> str:
    """As before, to the upstream: with the path where there is one."""
    rest = passed.replace(f"http://{address}", f"http://{UPSTREAM}", 1)
    return rest.replace(f"{UPSTREAM}:", UPSTREAM, 1) if address.startswith("unix:") else rest


def _edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text.strip()


def _statements(text: str) -> Iterator[_Statement]:
    """The directives, those in blocks too. What is no configuration of nginx gives none, or nonsense: nginx tells."""
    words: list[str] = []
    places: list[int] = []
    open_blocks: list[tuple[tuple[str, ...], int, int]] = []
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token[0].isspace() or token[0] == "#":
            continue
        if token == "}":
            if open_blocks:
                yield _Statement(*open_blocks.pop()[:2], found.end(), 0)
            words, places = [], []
        elif token == "{":
            open_blocks.append((tuple(words) or ("",), places[0] if places else found.start(), 0))
            words, places = [], []
        elif token == ";":
            if words:
                yield _Statement(tuple(words), places[0], found.end(), places[-1])
            words, places = [], []
        else:
            words.append(token)
            places.append(found.start())
