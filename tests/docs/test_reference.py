"""How the reference of the command line is written."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_what_may_be_left_out_is_in_whole_brackets() -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "bin/lib/reference.py")
    assert spec
    assert spec.loader
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    lines = list(reference.cli_lines())
    assert "devflow variables set PROJECT [ENV] KEY[=VALUE]… [OPTIONS]" in lines
    assert "devflow variables list PROJECT [ENV] [OPTIONS]" in lines
    usage = [line for line in lines if re.match(r"devflow |\| `", line)]
    assert [line for line in usage if line.count("[") != line.count("]") or "[[" in line] == []
