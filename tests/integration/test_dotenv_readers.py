"""A `.env` with every odd value, as the panel writes it: read on a server by PHP (phpdotenv) and by sh."""

from __future__ import annotations

import json
import random
import re

import pytest

from devflow.core import dotenv
from tests.support.vps import Vps

# fmt: off
ODD = [
    '', ' ', ' x ', '#x', 'a #b', 'a#b', 'a=b', '=', "'", '"', "it's", 'a "b"', '\\', 'a\\b', 'a\\\\b',
    'ends with \\', '$', '$HOME', '${HOME}', "it's $5", "it's ${HOME}", '$(id)', '`id`', '; rm -rf ~', '&& id', '|',
    '<>', '!x', '~', '*', 'two\nlines', '\n', 'ends\n', '\n\nx\n\n', "a\n'b'\n", 'a\n"b"', 'a\n#b', 'a\nB=c',
    'tab\there', 'null', 'true', 'größe-日本-🚀', '\xa0x\xa0', '\u2028', 'base64:abc+/==',
    '-----BEGIN KEY-----\nab/+=\n-----END KEY-----\n', 'export A=1', '\\n', "\\'", '\\"', '\\$x', '%s%n', '[a]',
    '{a}', '(a)', 'a,b;c:d', 'https://u:p@h/?a=b&c=d#e', '\x07\x1b[0m', '<a href="x">', '="', 'a="b', 'it\'s="',
    'x="\n', '\\="', '="\\" ',
    "x" * 5_000,
]
# fmt: on
PHP = """<?php
foreach (['/usr/share/php/Dotenv/autoload.php', '/usr/share/php/Illuminate/autoload.php'] as $file) {
  if (is_file($file)) { require_once $file; }
}
echo json_encode(Dotenv\\Dotenv::parse(file_get_contents('.env')), JSON_INVALID_UTF8_SUBSTITUTE);
"""
FOLDER = "/tmp/readers"


def made(count: int) -> list[str]:
    """Values that are thrown together, the same in every run."""
    dice = random.Random(20261121)
    parts = ["'", '"', "\\", "$", "{", "}", "#", "=", " ", "\n", "a", "B", "${A}", "ü", ";", "&", "\t", "!", "-", "%"]
    values = ["".join(dice.choices(parts, k=dice.randint(1, 12))) for _ in range(count)]
    return [value for value in values if not re.search(r"\n\\+$", value)]  # phpdotenv misses the end of these


@pytest.fixture(scope="module")
def values() -> dict[str, str]:
    return {f"V{number}": value for number, value in enumerate([*ODD, *made(300)])}


@pytest.fixture(scope="module")
def server(vps: Vps, values: dict[str, str]) -> Vps:
    vps.put(dotenv.render(values), f"{FOLDER}/.env")
    vps.put(PHP, f"{FOLDER}/read.php")
    return vps


def test_php_reads_every_value_as_it_was_set(server: Vps, values: dict[str, str]) -> None:
    read = json.loads(server.run(f"cd {FOLDER} && php read.php").stdout)
    assert {key: read.get(key) for key in values if read.get(key) != values[key]} == {}


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_shell_reads_every_value_as_it_was_set(server: Vps, values: dict[str, str], shell: str) -> None:
    printed = " ".join(f'"${key}"' for key in values)
    script = f"set -eu\ncd {FOLDER}\n. ./.env\nprintf '%s\\036' {printed}\n"
    done = server.run(shell, stdin=script)
    assert done.stderr == ""
    assert done.stdout.split("\036")[:-1] == list(values.values())


def test_what_php_refuses_is_what_the_guide_says(server: Vps) -> None:
    """A backtick beside what needs double quotes: sh needs a backslash there, which phpdotenv does not know."""
    server.put(dotenv.render({"A": "it's `id`"}), f"{FOLDER}/.env")
    done = server.run(f"cd {FOLDER} && php read.php", check=False)
    assert done.returncode != 0
    assert "unexpected escape sequence" in done.stdout + done.stderr
    assert server.run("sh", stdin=f'. {FOLDER}/.env; printf %s "$A"').stdout == "it's `id`"
