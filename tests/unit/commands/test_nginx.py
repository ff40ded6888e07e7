"""nginx: the text of site files, and their way to a server, with a stand-in of nginx (the real one: integration)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from devflow.commands import nginx
from tests.support.machine import Machine, Ran

ID = "e0e0e0e0"


def site_file(**given: object) -> str:
    values: dict[str, object] = {
        "environment_id": ID,
        "domains": ("shop.example.com", "*.shop.example.com"),
        "serves": "upstream",
    }
    return nginx.site_file(**{**values, **given})  # type: ignore[arg-type]


def test_what_listens_is_reached_over_the_upstream_include() -> None:
    text = site_file(upload_mb=20)
    assert text.startswith("# $upstream_addr")
    for line in (
        "include @upstream_file@;",
        "    server_name shop.example.com *.shop.example.com;",
        "    client_max_body_size 20m;",
        f"    access_log /var/log/nginx/devflow-{ID}.access.log devflow_{ID};",
        "        proxy_pass http://@upstream@;",
        "        proxy_set_header Host $http_host;",
        "        proxy_set_header Upgrade $http_upgrade;",
        f"        proxy_set_header Connection $devflow_{ID}_connection;",
        "        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "        proxy_set_header X-Forwarded-Proto $scheme;",
    ):
        assert line in text.splitlines(), line
    assert text.index("include @upstream_file@;") < text.index("server {")


def test_php_is_served_by_the_real_path_of_the_release() -> None:
    text = site_file(serves="php", root="/srv/shop/current/public")
    assert "    root /srv/shop/current/public;" in text
    assert "fastcgi_pass unix:@php_socket@;" in text
    assert "fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;" in text
    assert "upstream_file" not in text


def test_a_folder_with_spaces_is_one_word_for_nginx() -> None:
    assert '    root "/srv/my \\"shop/current";' in site_file(serves="static", root='/srv/my "shop/current')


def test_a_static_site_has_no_php() -> None:
    text = site_file(serves="static", root="/srv/shop/current/dist")
    assert "    root /srv/shop/current/dist;" in text
    assert "php" not in text


def test_names_of_variables_are_short_enough_for_nginx() -> None:
    text = site_file(environment_id="0123456789abcdef0123456789abcdef")
    names = {word.strip(";") for word in text.split() if word.startswith("$devflow_")}
    assert names == {"$devflow_456789abcdef_connection"}


def test_an_own_site_file_is_used_as_it_is() -> None:
    own = "server {\r\n  server_name a.test;\r\n  location / { proxy_pass http://@upstream@; }\r\n}\r\n\r\n"
    assert site_file(template=own).splitlines()[:2] == ["include @upstream_file@;", "server {"]
    assert site_file(template="server { root /srv; }") == "server { root /srv; }\n"


def test_what_was_edited_becomes_a_template_and_the_same_again() -> None:
    on_server = (
        "# Kept by DevFlow for shop. Checksum: 00\n"
        f"include {nginx.FOLDER}/{ID}.upstream;\n"
        f"server {{\n    location / {{ proxy_pass http://devflow_{ID}; }}\n}}\n"
    )
    template = nginx.template_of(on_server, ID)
    assert template == "server {\n    location / { proxy_pass http://@upstream@; }\n}"
    filled = nginx.filled_as(site_file(template=template), ID, on_server)
    assert filled.splitlines() == on_server.splitlines()[1:]


# --- on a server ------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """nginx refuses what has `broken` in it, and shows all of its files; `calls` is what it was told."""
    folder = machine.folder / "devflow.d"
    folder.mkdir()
    (machine.root / ".devflow").mkdir()
    machine.tool("id", "case $1 in -un) echo root ;; *) echo 0 ;; esac")
    machine.tool(
        "nginx",
        f'echo "nginx $*" >>"$HOME/calls"\n'
        f'if grep -rqs broken {folder}; then echo "nginx: [emerg] broken in a.conf:1" >&2; exit 1; fi\n'
        f'for file in {folder}/*.conf "$HOME"/*.conf; do [ -e "$file" ] || continue\n'
        'echo "# configuration file $file:"; cat "$file"; echo; done',
    )
    return machine


def shell(server: Machine, text: str) -> str:
    """The texts with another folder than /etc/nginx."""
    return text.replace(nginx.FOLDER, str(server.folder / "devflow.d")).replace("/run/nginx.pid", "/nowhere")


def site_path(server: Machine) -> Path:
    return server.folder / "devflow.d" / f"{ID}.conf"


def install(server: Machine, text: str, *, then: str = "", servers: str = "") -> Ran:
    return server.run(shell(server, nginx.FUNCTIONS + nginx.install(text, servers=servers) + then))


def state(server: Machine) -> str:
    return server.run(shell(server, nginx.FUNCTIONS + "site_state\n")).lines[-1]


def test_a_site_file_is_known_again_by_its_checksum(server: Machine) -> None:
    assert state(server) == "absent"
    assert install(server, "server { it's $here; }\n@listen6@\n").code == 0
    assert state(server) == "ours"
    assert "it's $here" in site_path(server).read_text()
    site_path(server).write_text(site_path(server).read_text().replace("here", "there"))
    assert state(server) == "edited"


def test_what_nginx_refuses_is_put_back(server: Machine) -> None:
    install(server, "server { one; }\n", servers='"127.0.0.1:1"')
    before = site_path(server).read_text()
    (server.root / ".devflow" / "nginx.d2").rename(server.folder / "away")
    ran = install(server, "server { broken; }\n", servers='"127.0.0.1:2"')
    assert ran.code == 1
    assert ran.explained.endswith("so it was put back: nginx: [emerg] broken in a.conf:1 ")
    assert site_path(server).read_text() == before
    upstream = site_path(server).with_suffix(".upstream").read_text()
    assert upstream == "upstream devflow_e0e0e0e0 {\n    server 127.0.0.1:1;\n}\n"


def test_what_was_not_there_is_not_there_again(server: Machine) -> None:
    install(server, "server { one; }\n", servers='"127.0.0.1:1"')
    assert server.run(shell(server, nginx.FUNCTIONS + "put_back_nginx\n")).code == 0
    assert list((server.folder / "devflow.d").iterdir()) == []


def test_all_weights_of_an_upstream_are_written_and_read(server: Machine) -> None:
    servers = "'127.0.0.1:1 weight=95' '127.0.0.1:2 weight=5'"
    ran = server.run(shell(server, f"{nginx.FUNCTIONS}write_upstream {servers}\nupstream_servers\n"))
    assert ran.lines == ["127.0.0.1:1 weight=95", "127.0.0.1:2 weight=5"]


def test_who_else_serves_a_domain_is_found(server: Machine) -> None:
    site_path(server).write_text("server { server_name shop.test; }\n")
    other = server.home / "other.conf"
    other.write_text(
        "# server_name c.test;\nserver {\n  server_name a.test\n    Shop.test;}\nserver{server_name b.test;}\n"
    )
    look = "named_elsewhere\n"
    ran = server.run(shell(server, nginx.FUNCTIONS + look), domains=("shop.test", "b.test", "c.test"))
    assert ran.lines == [f"Shop.test {other}", f"b.test {other}"]


@pytest.mark.parametrize("accepted", [False, True])
def test_a_file_edited_by_hand_is_refused_unless_it_was_given_up(server: Machine, accepted: bool) -> None:
    server.tool("pgrep", "exit 1")
    server.tool("systemctl", "exit 0")
    include = server.folder / "include.conf"
    include.touch()
    install(server, "server { one; }\n")
    site_path(server).write_text("server { by hand; }\n")
    digest = hashlib.sha256(site_path(server).read_bytes()).hexdigest()
    check = shell(server, nginx.CHECK).replace(nginx.INCLUDE, str(include))
    ran = server.run(f"proxy_accepted='{digest if accepted else ''}'\n{check}")
    assert (ran.code == 0) == accepted, ran
    assert accepted or "was edited by hand" in ran.explained
    assert "by hand" in site_path(server).read_text()


def test_a_broken_configuration_is_told_in_its_own_words(server: Machine) -> None:
    include = server.folder / "include.conf"
    include.touch()
    server.tool("pgrep", "exit 1")
    server.tool("systemctl", "exit 0")
    (server.folder / "devflow.d" / "other.conf").write_text("broken")
    ran = server.run(shell(server, nginx.CHECK).replace(nginx.INCLUDE, str(include)))
    assert ran.code == 1
    assert ran.explained.endswith("is broken, so nothing was changed: nginx: [emerg] broken in a.conf:1 ")
