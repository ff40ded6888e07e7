"""The three ways to give the master key, and what each says when it is wrong."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devflow.core.crypto import MasterKeyError, make_key_file, read_key_file, replace_key_file
from devflow.settings import keys
from devflow.settings.env import ConfigError, load_config
from devflow.settings.keys import MasterKeys

KEY = bytes(range(32))
TEXT = base64.b64encode(KEY).decode()


def given(folder: Path, **variables: str) -> MasterKeys:
    return MasterKeys(load_config({"DEVFLOW_DATA_DIR": str(folder), **variables}))


def by_command(folder: Path, script: str) -> MasterKeys:
    """The keys of a command that runs this text in Python."""
    program = folder / "print-key"
    program.write_text(f"#!{sys.executable}\n{script}\n")
    program.chmod(0o700)
    return given(folder, DEVFLOW_KEY_COMMAND=f"'{program}' devflow")


def test_from_the_environment(tmp_path: Path) -> None:
    found = given(tmp_path, DEVFLOW_MASTER_KEY=TEXT)
    assert (found.now(), found.file, found.where) == ((KEY,), None, "in DEVFLOW_MASTER_KEY")
    with pytest.raises(MasterKeyError, match=r"^DEVFLOW_MASTER_KEY is not a master key .* it has 3 bytes"):
        given(tmp_path, DEVFLOW_MASTER_KEY="wxyz")


def test_the_key_shows_in_no_text_of_the_settings(tmp_path: Path) -> None:
    config = load_config({"DEVFLOW_DATA_DIR": str(tmp_path), "DEVFLOW_MASTER_KEY": TEXT})
    assert TEXT not in repr(config) + str(config)


def test_a_process_keeps_the_key_out_of_its_environment(tmp_path: Path) -> None:
    script = (
        "import os; os.environ['DEVFLOW_MASTER_KEY'] = os.environ.pop('GIVEN'); from devflow.settings import base;"
        "import subprocess; print('DEVFLOW_MASTER_KEY' in os.environ, base.MASTER_KEYS.now()[0].hex());"
        "print(subprocess.run(['env'], capture_output=True, text=True).stdout.count('DEVFLOW_MASTER_KEY'))"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "GIVEN": TEXT}
    environment |= {"DEVFLOW_DATA_DIR": str(tmp_path), "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["False", KEY.hex(), "0"], done.stderr


@pytest.mark.parametrize(
    "others",
    [
        {"DEVFLOW_KEY_FILE": "/key"},
        {"DEVFLOW_KEY_COMMAND": "true"},
        {"DEVFLOW_KEY_FILE": "/key", "DEVFLOW_KEY_COMMAND": "true"},
    ],
)
def test_only_one_way_may_be_given(tmp_path: Path, others: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(others))} and .*choose one way"):
        given(tmp_path, DEVFLOW_MASTER_KEY=TEXT, **others)


def test_from_a_command(tmp_path: Path) -> None:
    found = by_command(tmp_path, f"import sys; assert sys.argv[1] == 'devflow'; print('{TEXT}')")
    assert (found.now(), found.file, found.where) == ((KEY,), None, "of DEVFLOW_KEY_COMMAND")


def test_the_command_runs_without_a_shell(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyError, match="is not a master key"):
        given(tmp_path, DEVFLOW_KEY_COMMAND=f"echo {TEXT}; touch {tmp_path}/made")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("print('hunter2'); raise SystemExit(3)", "failed with exit code 3. Run it yourself"),
        ("print('hunter2')", "is not a master key"),
        ("print()", "it is empty"),
        ("print('hunter2' * 9999)", "printed more than 8192 bytes"),
        ("import sys; sys.stderr.write('hunter2'); sys.exit('hunter2')", "failed with exit code 1"),
    ],
)
def test_a_command_that_gives_no_key(tmp_path: Path, script: str, told: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MasterKeyError, match=told) as refused:
        by_command(tmp_path, script)
    assert "DEVFLOW_KEY_COMMAND" in str(refused.value)
    assert "hunter2" not in str(refused.value) + "".join(capfd.readouterr())


@pytest.mark.parametrize("script", ["import time; time.sleep(60)", "while True: print('x', end='', flush=True)"])
def test_a_command_that_does_not_end_is_ended(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "COMMAND_SECONDS", 0.5)
    begun = time.monotonic()
    with pytest.raises(MasterKeyError, match=r"did not end in 0\.5 s|printed more than"):
        by_command(tmp_path, script)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("command", "told"), [("/no/such/program x", "cannot be run .* No such file"), ("'open", "cannot be split")]
)
def test_a_command_that_cannot_be_run(tmp_path: Path, command: str, told: str) -> None:
    with pytest.raises(MasterKeyError, match=told):
        given(tmp_path, DEVFLOW_KEY_COMMAND=command)


def test_a_file_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    make_key_file(path)
    (first,) = read_key_file(path)
    found = given(tmp_path)
    assert (found.now(), found.file, found.where) == ((first,), path, str(path))
    replace_key_file(path, (KEY, first))
    assert found.now() == (KEY, first)
    path.write_text("damaged")
    assert found.now() == (KEY, first)  # a running panel goes on with what it knows
    path.unlink()
    assert found.now() == (KEY, first)


def test_a_file_with_another_key_is_not_taken_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "master.key"
    make_key_file(path)
    (first,) = read_key_file(path)
    found = given(tmp_path)
    replace_key_file(path, (KEY,))
    assert [found.now(), found.now()] == [(first,), (first,)]
    (told,) = (record.getMessage() for record in caplog.records)
    assert "holds another master key than before" in told
    assert KEY.hex() not in told
    assert found.now(lambda keys: keys == (KEY,)) == (KEY,)  # who can tell that they are the panel's
    replace_key_file(path, (first, KEY))
    assert found.now() == (first, KEY)
    replace_key_file(path, (first,))  # as at the end of a rotation
    assert found.now() == (first,)
