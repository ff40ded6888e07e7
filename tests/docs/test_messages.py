"""bin/messages: every text of the code is in the catalogs, and what is missing is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bin.lib import messages

pytestmark = pytest.mark.skipif(not shutil.which("xgettext"), reason="needs gettext (bin/test installs it)")

HEADER = messages.HEADER
SOURCE = f"""{HEADER}msgid "%(count)s line of %(name)s"
msgid_plural "%(count)s lines of %(name)s"
msgstr[0] ""
msgstr[1] ""
"""
GOOD = SOURCE.replace('[0] ""', '[0] "%(count)s Zeile von %(name)s"').replace(
    '[1] ""', '[1] "%(count)s Zeilen von %(name)s"'
)


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(messages, "SOURCE", tmp_path / "src/devflow")
    po = tmp_path / "de.po"
    po.write_text(GOOD, "utf-8")
    return po


def problems(po: Path, source: str = SOURCE) -> list[str]:
    pot = po.with_suffix(".pot")
    pot.write_text(source, "utf-8")
    return list(messages.check(pot, po, po.parent))


def test_a_whole_catalog_has_no_problems(catalog: Path) -> None:
    messages.run("msgfmt", f"--output-file={catalog.with_suffix('.mo')}", str(catalog))
    assert problems(catalog) == []


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("%(count)s Zeile von %(name)s", "", "not translated"),
        ('\n\nmsgid "%', '\n\n#, fuzzy\nmsgid "%', "not translated"),
        ("Zeilen von %(name)s", "Zeilen von %(nam)s", "not the same placeholders"),
        ("Zeilen von %(name)s", "Zeilen", "not the same placeholders"),
        ("line of", "row of", "not in the code any more"),
        ("Zeile ", "Reihe ", "not made from"),
    ],
)
def test_what_is_wrong_is_named(catalog: Path, before: str, after: str, told: str) -> None:
    messages.run("msgfmt", f"--output-file={catalog.with_suffix('.mo')}", str(catalog))
    assert before in GOOD
    catalog.write_text(GOOD.replace(before, after), "utf-8")
    assert any(told in problem for problem in problems(catalog))


def test_a_catalog_that_was_never_compiled_is_named(catalog: Path) -> None:
    assert any("not made from" in problem for problem in problems(catalog))


def test_every_kind_of_text_is_found(tmp_path: Path) -> None:
    pot = messages.extract("django", tmp_path).read_text("utf-8")
    assert 'msgid "Skip to content"' in pot  # a template's
    assert 'msgid "%(name)s is removed from the panel."' in pot  # a view's
    assert 'msgid "Rolled back"' in pot  # a state's
    assert 'msgctxt "told"\nmsgid "There is no server %(1)s in this team."' in pot  # an error's
    assert 'msgctxt "told"\nmsgid "Free disk for the build (MB)"' in pot  # a recipe's option's
    assert 'msgid "Copied"' in messages.extract("djangojs", tmp_path).read_text("utf-8")
