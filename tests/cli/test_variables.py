"""Variables by the command line, up to the files on a server that they become."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from devflow.core import dotenv
from tests.cli.conftest import Cli, Shop

NASTY = 'it\'s "quoted" $(id) `id` ünïcode\nsecond line\t#end\\'


def test_a_secret_goes_in_by_stdin_and_out_by_the_export(cli: Cli, shop: Shop, tmp_path: Path) -> None:
    target = (shop.slug, "production")
    assert cli("variables", "set", *target, "SECRET", stdin=NASTY + "\n").out.startswith("Set: SECRET")
    cli("variables", "set", *target, "A=1", "EMPTY=", "URL=https://x.invalid/?a=b", "--kind", "text")
    listed = cli("variables", "list", *target)
    assert [line.split()[0] for line in listed.out.splitlines()] == ["KEY", "A", "EMPTY", "SECRET", "URL"]
    assert "second line" not in listed.out
    file = tmp_path / "production.env"
    cli("variables", "export", *target, "--output", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "cannot be written" in cli("variables", "export", *target, "--output", str(file), status=2).err
    assert cli("variables", "export", *target).out == file.read_text()
    cli("environments", "add", shop.slug, "staging", "--branch", "main", "--server", "local")
    assert "SECRET" in cli("variables", "import", shop.slug, "staging", str(file)).out
    assert cli("variables", "diff", *target, "staging", "--json").json == []
    cli("variables", "unset", *target, "A", "URL")
    assert [each["key"] for each in cli("variables", "diff", *target, "staging", "--json").json] == ["A", "URL"]
    assert "only in staging" in cli("variables", "diff", *target, "staging").out


def test_a_projects_variables_are_those_of_all_its_environments(cli: Cli, shop: Shop) -> None:
    target = (shop.slug, "production")
    cli("variables", "import", shop.slug, "--base", stdin="MAIL_HOST=mail.invalid\nDB_NAME=shop\n")
    cli("variables", "set", *target, "DB_NAME", stdin="own")
    listed = cli("variables", "list", *target, "--json").json
    assert [(row["key"], row["origin"]) for row in listed] == [("DB_NAME", "overrides"), ("MAIL_HOST", "base")]
    assert "production, instead of base" in cli("variables", "list", *target).out
    assert "production" in cli("variables", "list", shop.slug, "--base").out
    assert cli("variables", "export", *target).out == "DB_NAME=own\nMAIL_HOST=mail.invalid\n"
    assert cli("variables", "export", *target, "--own").out == "DB_NAME=own\n"
    assert cli("variables", "export", shop.slug, "--base").out == "DB_NAME=shop\nMAIL_HOST=mail.invalid\n"
    cli("variables", "unset", shop.slug, "--base", "MAIL_HOST")
    assert cli("variables", "export", *target).out == "DB_NAME=own\n"


def test_an_old_value_is_found_in_the_history_and_restored(cli: Cli, shop: Shop) -> None:
    target = (shop.slug, "production")
    for value in ("first", "second"):
        cli("variables", "set", *target, "KEY", stdin=value)
    changes = cli("variables", "history", *target, "--json").json
    assert [(change["action"], change["by"]) for change in changes] == [("set", "ada@example.test")] * 2
    told = cli("variables", "history", *target, "--key", "KEY").out
    assert changes[0]["id"] in told
    assert "first" not in told
    cli("variables", "restore", *target, changes[-1]["id"])
    assert cli("variables", "export", *target).out == "KEY=first\n"
    assert "no change" in cli("variables", "restore", *target, "nonsense", status=1).err
    assert cli("variables", "history", shop.slug, "--base").err.startswith("No variable was changed yet")


def test_files_are_on_the_server_with_each_release(cli: Cli, shop: Shop, tmp_path: Path) -> None:
    target = (shop.slug, "production")
    key = tmp_path / "key.pem"
    shared = shop.root / "shared"
    written = []
    for text in ("-----BEGIN KEY-----\n$(id) it's\n", "no newline at its end"):
        key.write_text(text)
        cli("variables", "set", *target, "KEY_FILE", "--file", str(key), "--kind", "file")
        cli("deploy", *target)
        path = Path((shared / ".env").read_text().partition("KEY_FILE=")[2].strip())
        assert path.read_text() == text
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert path.parent.parent == shared / ".env.d"
        written.append(path)
    assert written[0] != written[1]
    cli("rollback", *target)
    assert (shared / ".env").read_text() == f"KEY_FILE={written[0]}\n"
    assert written[0].read_text().startswith("-----BEGIN KEY-----")


def test_a_line_that_is_wrong_is_told_once(cli: Cli, shop: Shop) -> None:
    told = cli("variables", "import", shop.slug, "production", stdin="A=1\nnonsense\n", status=2).err
    assert told.count("is not KEY=value") == 1
    assert "or a quote is not closed" in told


def test_a_file_is_kept_as_its_bytes_are(cli: Cli, shop: Shop, tmp_path: Path) -> None:
    """A private key without its last newline is refused by ssh."""
    target = (shop.slug, "production")
    source = tmp_path / "source"
    for how in (["--kind", "file"], []):  # the second time it keeps the kind that it has
        for text in ("-----BEGIN KEY-----\nabc\n", "a\r\nb\r\n", "no newline at its end", "two\n\n"):
            source.write_bytes(text.encode())
            cli("variables", "set", *target, "KEY_FILE", *how, stdin=text)
            from_stdin = _value(cli, target, tmp_path)
            cli("variables", "set", *target, "KEY_FILE", *how, "--file", str(source))
            assert (from_stdin, _value(cli, target, tmp_path)) == (text, text)


def _value(cli: Cli, target: tuple[str, str], folder: Path) -> str:
    written = folder / "export.env"
    written.unlink(missing_ok=True)
    cli("variables", "export", *target, "--output", str(written))
    return dotenv.read(written.read_bytes().decode())["KEY_FILE"]


def test_what_is_on_the_servers_is_compared(cli: Cli, shop: Shop, tmp_path: Path) -> None:
    target = (shop.slug, "production")
    cli("variables", "set", *target, "KEEP", stdin=NASTY)
    cli("variables", "set", *target, "CHANGE", stdin="before")
    cli("variables", "set", *target, "FILE", "--kind", "file", stdin="text of the file")
    answer = cli("variables", "diff", *target, "--servers", "--json").json
    assert answer["servers"][0]["only_here"] == ["CHANGE", "FILE", "KEEP"]
    cli("deploy", *target)
    assert "have the same variables" in cli("variables", "diff", *target, "--servers").err
    cli("variables", "set", *target, "CHANGE", stdin="after the deployment")
    cli("variables", "set", *target, "FILE", stdin="another text")
    cli("variables", "set", *target, "NEW", stdin="x")
    told = cli("variables", "diff", *target, "--servers").out
    assert [line.split()[1:] for line in told.splitlines()[1:]] == [
        ["CHANGE", "differs"],
        ["FILE", "differs"],
        ["NEW", "not", "there"],
    ]
    env = shop.root / "shared" / ".env"
    env.unlink()
    env.write_text("KEEP=other\nCHANGE='after the deployment'\nnot a line\nTHEIRS=1\n")
    [server] = cli("variables", "diff", *target, "--servers", "--json").json["servers"]
    assert (server["changed"], server["only_there"], server["is_by_hand"]) == (["KEEP"], ["THEIRS"], True)


def test_a_required_variable_that_is_missing_is_told_before_anything_is_done(cli: Cli, shop: Shop) -> None:
    target = (shop.slug, "production")
    shop.repository.commit(
        {"index.html": "second", ".env.example": "APP_ENV=production\nAPP_KEY=\nTOKEN=<your token>\n"}
    )
    cli("variables", "require", *target)
    failed = cli("deploy", *target, status=None)
    assert failed.status != 0
    assert "Required by .env.example and not set: APP_KEY, TOKEN." in failed.out + failed.err
    assert not (shop.root / "current").exists()
    assert (
        "Required by .env.example and not set: APP_KEY, TOKEN." in cli("plan", *target).out + cli("plan", *target).err
    )
    cli("variables", "require", *target, "--off")
    cli("deploy", *target)
    cli("variables", "require", *target)
    cli("variables", "set", *target, "APP_KEY", stdin="k")
    cli("variables", "set", shop.slug, "--base", "TOKEN", stdin="t")
    cli("deploy", *target)
    assert shop.page() == "second"


def test_they_are_checked(cli: Cli, shop: Shop, tokens: dict[str, str]) -> None:
    target = (shop.slug, "production")
    assert "; rm" in cli("variables", "set", *target, "; rm -rf ~=1", "--kind", "text", status=2).err
    assert "one KEY at a time" in cli("variables", "set", *target, "A", "B", status=2).err
    assert "others on this machine" in cli("variables", "set", *target, "A=secret").err.lower()
    assert "no command is found" in cli("variables", "set", *target, "PATH", stdin="/bin", status=2).err
    assert "several lines" in cli("variables", "set", *target, "A", "--kind", "text", stdin="a\nb", status=2).err
    assert "--base" in cli("variables", "list", shop.slug, status=2).err
    assert "--base" in cli("variables", "list", *target, "--base", status=2).err
    assert "Something is missing" in cli("variables", "unset", *target, status=2).err
    assert "--servers" in cli("variables", "diff", *target, status=2).err
    assert "Line 1" in cli("variables", "import", *target, stdin="nonsense\n", status=2).err
    assert "no variable" in cli("variables", "unset", *target, "GONE", status=1).err
    assert "UTF-8" in cli("variables", "set", *target, "A=\udcff", "--kind", "text", status=2).err
    assert "UTF-8" in cli("variables", "unset", *target, "\udcff", status=2).err
    deployer = cli.with_environment(DEVFLOW_TOKEN=tokens["deploy"])
    assert deployer("variables", "list", *target).status == 0
    deployer("variables", "export", *target, status=6)


@pytest.mark.parametrize("kind", ["", "nonsense"])
def test_a_kind_that_is_none_is_refused(cli: Cli, shop: Shop, kind: str) -> None:
    cli("variables", "set", shop.slug, "production", "A", "--kind", kind, stdin="1", status=2)
