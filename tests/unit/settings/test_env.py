"""Settings from the environment and the file of the data folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from devflow.settings.env import Config, ConfigError, load_config


def load(tmp_path: Path, file: str = "", **environ: str) -> Config:
    (tmp_path / "devflow.toml").write_text(file)
    return load_config({"DEVFLOW_DATA_DIR": str(tmp_path), **environ})


def test_defaults(tmp_path: Path) -> None:
    assert load(tmp_path) == Config(
        data_dir=tmp_path,
        database_url=None,
        url="http://127.0.0.1:8080",
        host="127.0.0.1",
        port=8080,
        key_file=tmp_path / "master.key",
        redis_url=None,
        email_url=None,
        sentry_dsn=None,
        trusted_proxies=(),
        allow_private_addresses=(),
    )


def test_the_data_folder_is_below_the_current_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config({}).data_dir == tmp_path / "data"


def test_the_file_is_read(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        database_url = "postgresql://panel@db.example.org/panel"
        url = "https://panel.example.org/"
        host = "::"
        port = 9000
        key_file = "/etc/devflow/key"
        trusted_proxies = ["10.0.0.0/8", "::1"]
        allow_private_addresses = ["10.1.0.0/16"]
        """,
    )
    assert config.database_url == "postgresql://panel@db.example.org/panel"
    assert (config.url, config.hostname, config.is_https) == ("https://panel.example.org", "panel.example.org", True)
    assert (config.host, config.port) == ("::", 9000)
    assert config.key_file == Path("/etc/devflow/key")
    assert config.trusted_proxies == ("10.0.0.0/8", "::1/128")
    assert config.allow_private_addresses == ("10.1.0.0/16",)


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    config = load(
        tmp_path, "port = 9000\nhost = '10.0.0.1'", DEVFLOW_PORT="9001", DEVFLOW_TRUSTED_PROXIES="10.0.0.9, ::1"
    )
    assert (config.host, config.port) == ("10.0.0.1", 9001)
    assert config.trusted_proxies == ("10.0.0.9/32", "::1/128")


def test_an_empty_variable_is_none(tmp_path: Path) -> None:
    assert load(tmp_path, DATABASE_URL="").database_url is None


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("fd00::7", "http://[fd00::7]:8080"),
        ("panel.local", "http://panel.local:8080"),
    ],
)
def test_the_address_follows_the_host(tmp_path: Path, host: str, url: str) -> None:
    assert load(tmp_path, DEVFLOW_HOST=host).url == url


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("DEVFLOW_PORT", "eighty", "DEVFLOW_PORT: must be a number from 1 to 65535, not 'eighty'"),
        ("DEVFLOW_PORT", "0", "DEVFLOW_PORT: must be a number from 1 to 65535, not '0'"),
        ("DEVFLOW_PORT", "65536", "DEVFLOW_PORT: must be a number from 1 to 65535, not '65536'"),
        ("DEVFLOW_URL", "panel", "DEVFLOW_URL: must be an address like https://panel.example.org, not 'panel'"),
        (
            "DEVFLOW_URL",
            "https://a/b",
            "DEVFLOW_URL: must be an address like https://panel.example.org, not 'https://a/b'",
        ),
        ("DEVFLOW_URL", "http://[::", "DEVFLOW_URL: Invalid IPv6 URL"),
        ("DEVFLOW_URL", "http://x:99999", "DEVFLOW_URL: Port out of range 0-65535"),
        ("DATABASE_URL", "mysql://x", "DATABASE_URL: must start with postgresql:// (no other database is supported)"),
        (
            "DEVFLOW_TRUSTED_PROXIES",
            "proxy",
            "DEVFLOW_TRUSTED_PROXIES: 'proxy' does not appear to be an IPv4 or IPv6 network",
        ),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, variable: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, **{variable: value})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("prot = 1", "unknown setting prot (known: database_url, url, host, port,"),
        ("data_dir = '/x'", "unknown setting data_dir"),
        ("port = '80a'", "port: must be a number from 1 to 65535, not '80a'"),
        ("port = true", "port: must be a number from 1 to 65535, not True"),
        ("host = 7", "host: must be a text that is not empty"),
        ("trusted_proxies = 7", "trusted_proxies: must be a list of addresses or networks"),
        ("port 80", "cannot be read: Expected '=' after a key"),
    ],
)
def test_a_fault_in_the_file_is_named(tmp_path: Path, file: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, file)
    assert str(caught.value).startswith(str(tmp_path / "devflow.toml"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "devflow.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config({"DEVFLOW_DATA_DIR": str(tmp_path)})


@pytest.mark.parametrize("url", ["redis://:secret@cache:6379/0", "rediss://cache", "unix:///run/redis.sock"])
def test_redis(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, REDIS_URL=url).redis_url == url


@pytest.mark.parametrize(
    ("variable", "value"),
    [("REDIS_URL", "http://cache"), ("REDIS_URL", "cache:6379"), ("DATABASE_REPLICA_URL", "mysql://db/x")],
)
def test_what_is_shared_must_be_of_the_right_kind(tmp_path: Path, variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{variable}: must start with"):
        load(tmp_path, **{variable: value})
