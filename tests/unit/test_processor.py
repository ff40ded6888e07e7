"""What is told of a measurement that others disturbed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest
from tests.support import processor

QUIET = [100, 0, 50, 800, 10, 0, 0, 5]
DISTURBED = [120, 0, 60, 850, 10, 0, 0, 25]


def test_the_share_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([QUIET, DISTURBED])
    monkeypatch.setattr(processor, "_times", lambda: next(times))
    assert processor.Stolen(processor._times()).share() == 0.2


def test_it_is_read_from_the_kernel() -> None:
    assert 0 <= processor.Stolen().share() <= 1


@pytest.mark.parametrize(
    ("marker", "share", "outcome"),
    [("alone", 0.5, "skipped"), ("alone", 0.05, "failed"), ("", 0.5, "failed")],
)
def test_a_failure_is_forgiven_where_it_measured_and_others_had_the_processor(
    marker: str, share: float, outcome: str
) -> None:
    report = reported("failed", marker, share)
    assert report.outcome == outcome
    if outcome == "skipped":
        assert report.longrepr[2] == "Others had 50% of the processor while it measured: assert 33 < 20"


def test_what_passed_has_passed() -> None:
    assert reported("passed", "alone", 0.9).outcome == "passed"


def reported(outcome: str, marker: str, share: float) -> Any:
    stash = {conftest.STOLEN: SimpleNamespace(share=lambda: share)}
    found = {
        "get_closest_marker": lambda name: name == marker,
        "path": Path("test.py"),
        "location": ("test.py", 1, "t"),
    }
    call: Any = SimpleNamespace(when="call", excinfo=SimpleNamespace(exconly=lambda: "assert 33 < 20"))
    hook = conftest.pytest_runtest_makereport(SimpleNamespace(stash=stash, **found), call)  # type: ignore[arg-type]
    next(hook)
    with pytest.raises(StopIteration) as ended:
        hook.send(SimpleNamespace(outcome=outcome, failed=outcome == "failed"))
    return ended.value.value
