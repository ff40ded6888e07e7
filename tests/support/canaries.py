"""Secrets that can be recognised wherever they turn up, and what looks for them: in files, a database, processes."""

from __future__ import annotations

import base64
import re
import secrets
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import psycopg

LENGTH = 20
"""Letters and digits of a canary: no quoting or encoding of URLs, JSON or shells changes them."""
WATCHER = Path(__file__).with_name("process_watcher.py")


class Canaries:
    """What was planted, by name. `find` tells where one of them is: as it is, backwards, in hexadecimal or in base64,
    also in the middle of a longer text."""

    def __init__(self) -> None:
        self._forms: dict[bytes, str] = {}
        self._pattern: re.Pattern[bytes] | None = None

    def new(self, name: str) -> str:
        """A new secret of letters and digits, which may be part of a longer one."""
        value = "cn" + secrets.token_hex(LENGTH // 2 - 1)
        self.add(name, value)
        return value

    def add(self, name: str, value: str) -> str:
        """Looks for `value` too; of several lines for each that is long enough."""
        for line in value.splitlines():
            if len(line) >= 12 and not line.startswith("-----"):
                for label, form in _forms(line.strip().encode()):
                    self._forms[form] = f"{name} ({label})"
        self._pattern = None
        return value

    def add_key(self, name: str, pem: str) -> str:
        """Looks for a private key of OpenSSH's format: its last lines, since the first ones hold the public key."""
        body = [line for line in pem.splitlines() if line and not line.startswith("-----")]
        self.add(name, "\n".join(body[-2:]))
        return pem

    def find(self, data: bytes | str, where: str) -> list[str]:
        """`<name> (<form>) in <where>: <what is around it>`, for each place."""
        data = data.encode() if isinstance(data, str) else data
        if self._pattern is None:
            self._pattern = re.compile(
                b"|".join(re.escape(form) for form in sorted(self._forms, key=len, reverse=True))
            )
        return [
            f"{self._forms[match[0]]} in {where}: …{data[max(0, match.start() - 60) : match.end() + 30]!r}"
            for match in self._pattern.finditer(data)
        ]

    def find_in_files(self, folder: Path, *, but: Iterable[Path] = ()) -> list[str]:
        left_out = set(but)
        found = []
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and path not in left_out:
                found += self.find(path.read_bytes(), str(path.relative_to(folder)))
        return found

    def find_in_database(self, url: str) -> list[str]:
        """In every value of every table, as a dump shows it, and in what binary values hold."""
        return [found for where, data in dump(url) for found in self.find(data, where)]


def _forms(value: bytes) -> Iterator[tuple[str, bytes]]:
    yield "as it is", value
    yield "backwards", value[::-1]
    yield "in hexadecimal", value.hex().encode()
    yield "in hexadecimal", value.hex().upper().encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            encoded = encode(bytes(shift) + value)
            yield "in base64", encoded[-(-shift * 8 // 6) : (shift + len(value)) * 8 // 6]


def dump(url: str) -> Iterator[tuple[str, bytes]]:
    """Each table as `pg_dump` writes it, and each binary value as it is and unpacked."""
    with psycopg.connect(url) as database:
        tables = database.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, table in tables:
            with database.cursor().copy(f'COPY "{schema}"."{table}" TO STDOUT') as rows:
                for row in rows:
                    data = bytes(row)
                    yield f"{schema}.{table}", data
                    for digits in re.findall(rb"\\\\x([0-9a-f]+)", data):
                        yield f"{schema}.{table} (binary)", _unpacked(bytes.fromhex(digits.decode()))


def _unpacked(data: bytes) -> bytes:
    for bits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        try:
            return zlib.decompressobj(bits).decompress(data)
        except zlib.error:
            continue
    return data


class ProcessWatch:
    """Notes the arguments and environments of all processes of this machine, and so of containers on it, while open."""

    def __init__(self, folder: Path) -> None:
        self.arguments = folder / "arguments"
        self.environments = folder / "environments"

    def __enter__(self) -> ProcessWatch:
        command = [sys.executable, str(WATCHER), str(self.arguments), str(self.environments)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout
        self._process.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(20) == 0
