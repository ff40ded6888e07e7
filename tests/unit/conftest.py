"""No database, no network: shell text runs in the shells of this machine, in temporary folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.machine import Machine

SHELLS = ("dash", "bash")

settings.register_profile("house", deadline=None)  # machines that run tests are busy
settings.load_profile("house")


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    """An empty server; every test that takes it runs in each shell that servers have as /bin/sh."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed on this machine")
    return Machine(tmp_path, shell=request.param)
