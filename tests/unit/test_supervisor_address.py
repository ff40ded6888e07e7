"""What `devflow up` says of an address at which it does not listen."""

from __future__ import annotations

from pathlib import Path

import pytest

from devflow.settings.env import load_config
from devflow.supervisor import _address_warning


@pytest.mark.parametrize(
    ("url", "is_warned"),
    [
        ("http://127.0.0.1:9999", True),
        ("http://localhost:9999", True),
        ("http://localhost", True),
        ("http://[::1]:9999", True),
        ("http://127.0.0.1:8123", False),
        ("http://localhost:8123", False),
        ("https://panel.example.org", False),
        ("http://10.1.2.3:9999", False),
        ("", False),
    ],
)
def test_an_address_of_this_machine_that_is_another_is_told(
    url: str, is_warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEVFLOW_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DEVFLOW_HOST", "127.0.0.1")
    monkeypatch.setenv("DEVFLOW_PORT", "8123")
    monkeypatch.setenv("DEVFLOW_URL", url) if url else monkeypatch.delenv("DEVFLOW_URL", raising=False)
    warning = _address_warning(load_config())
    assert ("unset DEVFLOW_URL" in warning) == is_warned
    assert ("127.0.0.1:8123" in warning) == is_warned
