"""What the demo's panel is given of the settings of who starts it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "bin" / "lib" / "demo.py"


def test_what_it_may_reach_is_passed_on_and_a_panel_of_ones_own_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEVFLOW_ALLOW_PRIVATE_ADDRESSES", "10.0.0.0/8")
    monkeypatch.setenv("DEVFLOW_TOKEN", "of another panel")
    monkeypatch.setenv("DEVFLOW_URL", "https://panel.example.org")
    monkeypatch.setenv("DATABASE_URL", "postgresql://panel.example.org/devflow")
    spec = importlib.util.spec_from_file_location("devflow_demo", DEMO)
    assert spec
    assert spec.loader
    demo = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "devflow_demo", demo)
    spec.loader.exec_module(demo)
    given = demo.Panel(tmp_path, 8123)._environment
    assert given["DEVFLOW_ALLOW_PRIVATE_ADDRESSES"] == "10.0.0.0/8"
    assert given["DEVFLOW_URL"] == "http://127.0.0.1:8123"
    assert "DEVFLOW_TOKEN" not in given
    assert "DATABASE_URL" not in given
