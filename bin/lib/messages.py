"""Extracts the panel's texts, merges them into the catalogs of each language and compiles these. `--check` compares."""

from __future__ import annotations

import gettext
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import django
from django.utils.translation.template import templatize

from bin.lib import messages_below as below

SOURCE: Final = Path(__file__).parents[2] / "src/devflow"
LOCALE: Final = SOURCE / "locale"
DOMAINS: Final = ("django", "djangojs")
KEYWORDS: Final = (
    *("gettext_noop", "gettext_lazy", "ngettext_lazy:1,2"),
    *("pgettext:1c,2", "npgettext:1c,2,3", "pgettext_lazy:1c,2", "npgettext_lazy:1c,2,3"),
)
PLACEHOLDER: Final = re.compile(r"%\(\w+\)[sd]|%%|%[sd]|\{\w*\}")

HEADER: Final = r"""msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Content-Transfer-Encoding: 8bit\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\n"

"""
Catalog = Mapping[str | tuple[str, int], str]


def main(arguments: list[str]) -> int:
    django.setup()
    with TemporaryDirectory(prefix="devflow-messages-") as folder:
        templates = {domain: extract(domain, Path(folder)) for domain in DOMAINS}
        languages = sorted(path.parent for path in LOCALE.glob("*/LC_MESSAGES"))
        if arguments == ["--check"]:
            problems = [
                problem
                for language in languages
                for domain in DOMAINS
                for problem in check(templates[domain], catalog_path(language, domain), Path(folder))
            ]
            print("\n".join(problems))
            return 1 if problems else 0
        for language in languages:
            for domain in DOMAINS:
                update(templates[domain], catalog_path(language, domain))
    return 0


def catalog_path(language: Path, domain: str) -> Path:
    return language / "LC_MESSAGES" / f"{domain}.po"


# --- extracting -------------------------------------------------------------------------------------------------------


def extract(domain: str, folder: Path) -> Path:
    """The template (.pot) of all texts of a domain, with the files that each is in."""
    pot = folder / f"{domain}.pot"
    if domain == "django":
        names = [*python_files(), *readable_templates(folder), below.write(folder, SOURCE)]
        options = ["--language=Python", f"--directory={folder}", f"--directory={SOURCE}"]
    else:
        names = [str(path.relative_to(SOURCE)) for path in sorted((SOURCE / "web/static/js").rglob("*.js"))]
        options = ["--language=JavaScript", f"--directory={SOURCE}"]
    keywords = [f"--keyword={keyword}" for keyword in KEYWORDS]
    common = ["--from-code=UTF-8", "--no-wrap", "--add-location=file", "--add-comments=Translators"]
    run("xgettext", *common, *keywords, *options, f"--output={pot}", *names)
    _, _, texts = pot.read_text("utf-8").partition("\n\n")
    pot.write_text(HEADER + texts, "utf-8")
    return pot


def python_files() -> list[str]:
    found = [*(SOURCE / "web").rglob("*.py"), *(SOURCE / "apps").rglob("*.py")]
    return sorted(str(path.relative_to(SOURCE)) for path in found if "migrations" not in path.parts)


def readable_templates(folder: Path) -> list[str]:
    """Each template as a file of the same name that xgettext can read: Python with the texts in it."""
    names = []
    folders = (SOURCE / "web/templates", SOURCE / "apps/notifications/templates")
    paths = [path for place in folders for path in place.rglob("*") if path.suffix in (".html", ".txt", ".svg")]
    for path in sorted(paths):
        name = path.relative_to(SOURCE)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(templatize(path.read_text("utf-8"), origin=str(name)), "utf-8")
        names.append(str(name))
    return names


# --- merging ----------------------------------------------------------------------------------------------------------


def update(pot: Path, po: Path) -> None:
    """New texts come in empty; those that are gone stay as comments, and come back translated. Then it is compiled."""
    if not po.exists():
        po.write_text(HEADER, "utf-8")
    run("msgmerge", "--quiet", "--no-fuzzy-matching", "--no-wrap", "--update", "--backup=none", str(po), str(pot))
    run("msgfmt", "--check-format", f"--output-file={po.with_suffix('.mo')}", str(po))


# --- checking ---------------------------------------------------------------------------------------------------------


def check(pot: Path, po: Path, folder: Path) -> Iterable[str]:
    """What is wrong with a catalog, a line each."""
    name = po.relative_to(SOURCE.parents[1])
    filled = folder / "filled.po"
    run("msgen", f"--output-file={filled}", str(pot))
    wanted, have, shipped = compiled(filled, folder), compiled(po, folder), read(po.with_suffix(".mo"))
    yield from (f"{name}: not translated: {shown(text)}" for text in wanted if text not in have)
    yield from (
        f"{name}: not in the code any more: {shown(text)} (run bin/messages)" for text in have if text not in wanted
    )
    yield from (
        f"{name}: not the same placeholders: {shown(text)} → {have[text]}"
        for text, original in wanted.items()
        if text in have and placeholders(have[text]) != placeholders(original)
    )
    if shipped != have:
        yield f"{name.with_suffix('.mo')}: not made from {name.name}: run bin/messages"


def compiled(po: Path, folder: Path) -> Catalog:
    """What the panel would read of a catalog: neither empty nor fuzzy translations."""
    mo = folder / "compiled.mo"
    run("msgfmt", "--check-format", f"--output-file={mo}", str(po))
    return read(mo)


def read(mo: Path) -> Catalog:
    if not mo.exists():
        return {}
    with mo.open("rb") as file:
        found: dict[str | tuple[str, int], str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    return {text: told for text, told in found.items() if text}


def placeholders(text: str) -> list[str]:
    return sorted(set(PLACEHOLDER.findall(text)))


def shown(text: str | tuple[str, int]) -> str:
    return repr(text if isinstance(text, str) else text[0]).replace("\\x04", ": ")


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
