"""The table of rights in the documents is that of the code."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from devflow.apps.accounts import rights
from devflow.apps.accounts.models import Role

ROOT = Path(__file__).parents[2]


def test_the_matrix_is_current() -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "bin/lib/reference.py")
    assert spec
    assert spec.loader
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    text = "\n".join([reference.NOTE, "", *reference.rights_lines()]).rstrip() + "\n"
    assert (ROOT / "docs/reference/rights.md").read_text() == text, "run bin/docs"


def test_the_guide_tells_every_role_and_grant() -> None:
    guide = (ROOT / "docs/guide/rights.md").read_text()
    for role in Role:
        assert f"| {role} |" in guide
    for action in rights.GRANTABLE:
        assert f"- **{rights.GRANT_LABELS[action]}**" in guide
