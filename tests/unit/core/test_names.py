"""What may be called how: each validator refuses with a message, or gives back what is safe to carry on literally."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devflow.core import names
from devflow.core.errors import InvalidError

NASTY = [
    "; rm -rf ~",
    "$(id)",
    "`id`",
    "it's",
    'a"b',
    "a\nb",
    "a\x00b",
    "a\x1b[31mb",
    "a\u2028b",
    "a\ud800b",
    "-rf",
    "--upload-pack=touch x",
    "..",
    "../../etc/passwd",
    "/../x",
    "",
    " ",
    "\t",
    "x" * 300,
    "späße",
    "日本",
    "a\\b",
    "a b",
    "*",
    "~",
    "a|b",
    "ext::sh -c id",
]
TEXT = st.one_of(st.text(max_size=80), st.sampled_from(NASTY), st.text("abz09-_./:@~ '\"$;\n", max_size=40))
SAFE: dict[str, Callable[[str], str]] = {
    "slug": names.slug,
    "variable": names.variable,
    "commit": names.commit,
    "host": names.host,
    "user": names.user,
}


@pytest.mark.parametrize("check", SAFE.values(), ids=SAFE)
@pytest.mark.parametrize("value", NASTY)
def test_plain_names_refuse_everything_nasty(check: Callable[[str], str], value: str) -> None:
    with pytest.raises(InvalidError) as refused:
        check(value)
    assert refused.value.errors
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("check", SAFE.values(), ids=SAFE)
@given(value=TEXT)
def test_plain_names_need_no_quotes(check: Callable[[str], str], value: str) -> None:
    """Whatever passes is one word of harmless ASCII characters and no option."""
    try:
        name = check(value)
    except InvalidError:
        return
    assert name == value
    assert name.isascii()
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:")
    assert not name.startswith("-")


@pytest.mark.parametrize("value", ["a", "my-shop", "1", "a" * 63])
def test_slugs(value: str) -> None:
    assert names.slug(value) == value


@pytest.mark.parametrize("value", ["-a", "a-", "A", "a_b", "a.b", "a" * 64])
def test_no_slugs(value: str) -> None:
    with pytest.raises(InvalidError):
        names.slug(value)


@pytest.mark.parametrize("value", ["1A", "A-B", "A.B", "A B", "A=B"])
def test_no_variables(value: str) -> None:
    with pytest.raises(InvalidError, match=r"^key "):
        names.variable(value)


@pytest.mark.parametrize("value", ["HEAD", "main", "abc123", "G" * 40, "a" * 39, "A" * 40])
def test_only_full_commits(value: str) -> None:
    with pytest.raises(InvalidError):
        names.commit(value)


@pytest.mark.parametrize("value", ["web1", "web1.example.com", "192.0.2.1", "2001:db8::1", "xn--bcher-kva.example"])
def test_hosts(value: str) -> None:
    assert names.host(value) == value


# --- branches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["main", "feature/login", "späße", "it's", "$(id)", ";x", "a@b", "release-1.0", '"q"']
)
def test_branches(value: str) -> None:
    assert names.branch(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "@",
        "-x",
        "a..b",
        "a b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "[a",
        "a\\b",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a.lock",
        "a.",
        "a@{1}",
        "x" * 201,
        "a\n",
        "a\ud800",
    ],
)
def test_no_branches(value: str) -> None:
    with pytest.raises(InvalidError):
        names.branch(value)


@given(value=TEXT)
def test_git_agrees_on_branches(value: str) -> None:
    """What passes is a branch for git, and comes through its command line as it is."""
    try:
        name = names.branch(value)
    except InvalidError:
        return
    done = subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode().rstrip("\n")) == (0, name)


# --- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["/srv/shop", "/var/www/it's $(id)", "/srv/日本/x", "/srv/a b"])
def test_roots(value: str) -> None:
    assert names.root(value) == names.root(f"{value}/") == value


@pytest.mark.parametrize(
    "value",
    [
        "/",
        "/srv",
        "/srv/",
        "//",
        "srv/shop",
        "/srv/../etc",
        "/srv/./x",
        "/srv//x",
        "~/shop",
        "/srv/a\nb",
        "/srv/" + "x" * 500,
    ],
)
def test_no_roots(value: str) -> None:
    with pytest.raises(InvalidError):
        names.root(value)


@given(value=TEXT, other=st.sampled_from(["/srv/", "/a/b/", ""]))
def test_a_root_is_absolute_and_nothing_leads_out_of_it(value: str, other: str) -> None:
    try:
        root = names.root(other + value)
    except InvalidError:
        return
    parts = PurePosixPath(root).parts
    assert parts[0] == "/"
    assert len(parts) >= 3
    assert ".." not in parts
    assert root.isprintable() or " " in root or any(ord(char) > 127 for char in root)


@pytest.mark.parametrize("value", [".env", "storage", "config/local.php", "; rm -rf ~", "$(id)", "it's", "späße"])
def test_relative_paths(value: str) -> None:
    assert names.relative_path(value) == value


@pytest.mark.parametrize(
    "value", ["", "/etc/passwd", "..", "a/../b", "../a", ".", ".git", ".git/hooks", "a//b", "a\nb", "x" * 301]
)
def test_no_relative_paths(value: str) -> None:
    with pytest.raises(InvalidError):
        names.relative_path(value)


@given(value=TEXT)
def test_a_relative_path_stays_inside(value: str) -> None:
    try:
        path = names.relative_path(value)
    except InvalidError:
        return
    parts = PurePosixPath(path).parts
    assert not path.startswith("/")
    assert parts
    assert not {"..", ".git"} & set(parts)


# --- repositories -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "https://github.com/team/app.git",
        "http://git.example/app",
        "ssh://git@host:2222/app.git",
        "git@host:team/app.git",
        "/srv/git/app.git",
        "file:///srv/git/app.git",
        "/srv/git/it's $(id).git",
    ],
)
def test_repositories(value: str) -> None:
    assert names.repository(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "app.git",
        "../app.git",
        "ext::sh -c id",
        "git://host/app",
        "ftp://host/app",
        "https://",
        "https:///app",
        "https://[::1/x",
        "-oProxyCommand=id@host:x",
        "--upload-pack=id",
        "/srv/../x",
        "git@host:",
        "https://host/a b",
        "https://host/\n",
        "ssh://-oProxyCommand=id/x",
        "x" * 1001,
    ],
)
def test_no_repositories(value: str) -> None:
    with pytest.raises(InvalidError):
        names.repository(value)


@pytest.mark.parametrize(
    "value", ["https://user:secret@host/app.git", "https://ghp_token@host/app.git", "ssh://u:p@host/x"]
)
def test_secrets_in_addresses_are_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(InvalidError) as refused:
        names.repository(value)
    assert "secret" not in str(refused.value)
    assert "ghp_token" not in f"{refused.value}{refused.value.errors}"


@given(value=TEXT)
def test_a_repository_is_no_option_and_no_helper_of_git(value: str) -> None:
    try:
        address = names.repository(value)
    except InvalidError:
        return
    assert not address.startswith("-")
    assert "::" not in address
    assert "\n" not in address


@pytest.mark.parametrize(
    ("value", "expected"),
    [("git@host:app.git", True), ("ssh://host/app", True), ("https://host/app", False), ("/srv/git/app.git", False)],
)
def test_where_a_deploy_key_is_of_use(value: str, expected: bool) -> None:
    assert names.is_ssh_repository(value) is expected


# --- text -------------------------------------------------------------------------------------------------------------


@given(value=st.text(max_size=300))
def test_single_lines(value: str) -> None:
    try:
        line = names.single_line(value, "name")
    except InvalidError:
        return
    assert line == line.strip()
    assert 1 <= len(line) <= 200
    assert len(line.splitlines()) == 1
    line.encode()


@pytest.mark.parametrize("code", [0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
def test_no_name_turns_the_text_around_it(code: int) -> None:
    for checked in (names.single_line, names.relative_path, names.root):
        with pytest.raises(InvalidError):
            checked(f"/srv/a{chr(code)}b" if checked is names.root else f"a{chr(code)}b", "name")
    assert names.single_line("עברית", "name") == "עברית"


@given(value=st.one_of(st.text(), st.text(st.characters(categories=["Cs"]), min_size=1)))
def test_storable_text_can_be_stored(value: str) -> None:
    try:
        text = names.storable(value, "value")
    except InvalidError:
        assert "\x00" in value or any(0xD800 <= ord(char) <= 0xDFFF for char in value)
        return
    assert text.encode().decode() == value
    assert "\x00" not in text


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(InvalidError) as refused:
        names.slug("X" * 10_000)
    assert len(str(refused.value)) < 200


# --- ids --------------------------------------------------------------------------------------------------------------


def test_ids_are_uuids_of_version_7_in_the_order_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for milliseconds in range(1_700_000_000_000, 1_700_000_000_050):
        monkeypatch.setattr(names.time, "time", lambda moment=milliseconds: moment / 1000 + 0.0001)
        made.append(names.uuid7())
    assert made == sorted(made)
    assert {(one.version, one.variant) for one in made} == {(7, uuid.RFC_4122)}


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOME", "USER", "SHELL", "PWD", "IFS", "PS4", "CDPATH", "UID", "EUID", "PPID", "BASH_ENV"),
        *("LD_PRELOAD", "LD_LIBRARY_PATH", "DEVFLOW_RUN", "DEVFLOW_X", "option_php_version"),
    ],
)
def test_variables_that_would_change_how_commands_run_are_refused_with_a_reason(name: str) -> None:
    with pytest.raises(InvalidError, match=f"{name} cannot be a variable: .{{20,}}") as caught:
        names.variable(name)
    assert list(caught.value.errors) == ["key"]


@pytest.mark.parametrize(
    "name", ["ENV", "path", "DEVFLOW", "OPTION_X", "HOMEPAGE", "USER_ID", "MY_PATH", "NODE_ENV", "TZ"]
)
def test_variables_that_only_look_like_these_are_fine(name: str) -> None:
    assert names.variable(name) == name
