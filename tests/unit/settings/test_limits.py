"""Settings of limits, networks and other sites' scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from devflow.settings.env import Config, ConfigError, load_config


def load(folder: Path, **environ: str) -> Config:
    return load_config({"DEVFLOW_DATA_DIR": str(folder), **environ})


def test_by_default_limits_are_generous_and_nothing_else_is_set(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert (config.api_limit, config.api_limit_nobody) == (3000, 300)
    assert config.cors_origins == config.allowed_networks == ()


def test_they_are_read_from_the_environment(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        DEVFLOW_API_LIMIT="0",
        DEVFLOW_API_LIMIT_NOBODY="20",
        DEVFLOW_CORS_ORIGINS="https://App.example.org, http://localhost:5173",
        DEVFLOW_ALLOWED_NETWORKS="192.0.2.7, 2001:db8::/32",
    )
    assert (config.api_limit, config.api_limit_nobody) == (0, 20)
    assert config.cors_origins == ("https://app.example.org", "http://localhost:5173")
    assert config.allowed_networks == ("192.0.2.7/32", "2001:db8::/32")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEVFLOW_API_LIMIT", "-1"),
        ("DEVFLOW_API_LIMIT", "many"),
        ("DEVFLOW_API_LIMIT_NOBODY", "1.5"),
        ("DEVFLOW_CORS_ORIGINS", "*"),
        ("DEVFLOW_CORS_ORIGINS", "null"),
        ("DEVFLOW_CORS_ORIGINS", "https://*.example.org"),
        ("DEVFLOW_CORS_ORIGINS", "app.example.org"),
        ("DEVFLOW_CORS_ORIGINS", "https://app.example.org/path"),
        ("DEVFLOW_ALLOWED_NETWORKS", "office"),
    ],
)
def test_a_wrong_value_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load(tmp_path, **{name: value})
