"""nginx: the text of site files, and their way to a server, with a stand-in of nginx (the real one: integration)."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from devflow.apps.deployments import proxy
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
    followed = site_file(template="server { server_name @domains@ other.test; }")
    assert followed == "server { server_name shop.example.com *.shop.example.com other.test; }\n"


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
    for path, here in (
        (nginx.FOLDER, str(server.folder / "devflow.d")),
        (nginx.INCLUDE, str(server.folder / "include.conf")),
        ("/run/nginx.pid", str(server.folder / "nginx.pid")),
        ("/run/systemd/system", "/nowhere"),
    ):
        text = text.replace(path, here)
    return text


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
    assert upstream.partition("\n")[2] == "upstream devflow_e0e0e0e0 {\n    server 127.0.0.1:1;\n}\n"


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
    ran = server.run(f"proxy_accepted='web1 {digest if accepted else ''}'\n{check}")
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


@pytest.mark.parametrize("server_name", ["web1", "web2"])
def test_what_was_accepted_of_another_server_is_not_of_this_one(server: Machine, server_name: str) -> None:
    install(server, "server { one; }\n")
    site_path(server).write_text("server { by hand; }\n")
    digest = hashlib.sha256(site_path(server).read_bytes()).hexdigest()
    assert (checked(server, f"{server_name} {digest}").code == 0) == (server_name == "web1")


def test_an_upstream_edited_by_hand_is_noticed(server: Machine) -> None:
    text = "include @upstream_file@;\n"
    install(server, text, servers='"127.0.0.1:1"')
    assert state(server) == "ours"
    path = site_path(server).with_suffix(".upstream")
    path.write_text(path.read_text().replace(":1;", ":2;"))
    assert state(server) == "edited"
    ran = checked(server)
    assert ran.explained.startswith(f"{path} on web1 was edited by hand")
    told = server.run(shell(server, f"{nginx.FUNCTIONS}site_sum\n")).lines[-1]
    assert checked(server, f"web1 {told}").code == 0
    install(server, "no upstream\n")
    assert state(server) == "ours", "what no site file includes does not matter"


# --- the lock, and what is reloaded -----------------------------------------------------------------------------------


def test_an_nginx_that_is_started_does_not_have_the_lock(server: Machine) -> None:
    server.tool("nginx", 'case $* in "") sleep 20 </dev/null >/dev/null 2>&1 & echo $! >"$HOME/daemon" ;; esac')
    ran = server.run(shell(server, f"{nginx.FUNCTIONS}lock_nginx\nstart_nginx\n"))
    daemon = int((server.home / "daemon").read_text())
    try:
        assert ran.code == 0, ran
        assert Path(f"/proc/{daemon}").exists()
        folder = os.open(server.folder / "devflow.d", os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(folder)
    finally:
        os.kill(daemon, 9)


def test_a_lock_that_is_never_let_go_is_told(server: Machine) -> None:
    folder = os.open(server.folder / "devflow.d", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        ran = server.run(shell(server, nginx.FUNCTIONS.replace("lock_seconds=120", "lock_seconds=1")) + "lock_nginx\n")
    finally:
        os.close(folder)
    assert ran.code == 1
    assert "has held the lock" in ran.explained
    assert "sudo fuser -v" in ran.explained


MASTER = r"""
$0 = "nginx: master process nginx"; my $serving = "$ENV{HOME}/serving";
sub worker { my ($name) = @_; my $pid = fork; return $pid if $pid;
  $0 = "nginx: worker process"; open my $f, ">", $serving; print $f $name; close $f;
  $SIG{QUIT} = sub { $0 = "nginx: worker process is shutting down"; sleep 30; exit }; sleep 1 while 1; }
my $old = worker("old"); my $told = 0; $SIG{HUP} = sub { $told = 1 };
$SIG{TERM} = sub { kill 9, $old; exit };
open my $f, ">", "$ENV{HOME}/../nginx.pid"; print $f "$$\n"; close $f;
while (1) { select undef, undef, undef, 0.05; next unless $told; $told = 0;
  sleep 2; my $new = worker("new"); select undef, undef, undef, 0.2; kill "QUIT", $old;
  $SIG{TERM} = sub { kill 9, $old, $new; exit }; }
"""


def test_a_switch_is_over_when_no_old_worker_takes_requests(server: Machine) -> None:
    """An nginx that goes on with the old configuration for two seconds, as one with much to do does."""
    server.tool("nginx", f'case $* in "-s reload") kill -HUP "$(cat {server.folder}/nginx.pid)" ;; esac')
    (server.folder / "master.pl").write_text(MASTER)
    master = subprocess.Popen(["perl", server.folder / "master.pl"], env=dict(server.environment()))
    try:
        deadline = time.monotonic() + 10
        while not (server.home / "serving").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        ran = server.run(shell(server, f'{nginx.FUNCTIONS}{nginx.RELOAD}cat "$HOME/serving"; echo\n'))
        assert (ran.code, ran.lines) == (0, ["new"])
    finally:
        master.terminate()
        master.wait(5)


# --- a site that is there already -------------------------------------------------------------------------------------


@pytest.fixture
def foreign(server: Machine) -> Path:
    path = server.home / "shop.conf"
    path.write_text("server { server_name shop.test; }\n")
    return path


def checked(server: Machine, accepted: str = "", then: str = "") -> Ran:
    server.tool("pgrep", "exit 1")
    (server.folder / "include.conf").touch()
    text = f"proxy_accepted='{accepted}'\n{nginx.CHECK}"
    return server.run(shell(server, text), *([shell(server, then)] if then else []), domains=("shop.test",))


def adopting(server: Machine, foreign: Path, then: str, text: str = "server { server_name shop.test; }\n") -> Ran:
    accepted = f"web1 {hashlib.sha256(foreign.read_bytes()).hexdigest()} {foreign}"
    return checked(server, accepted, f"{then}{nginx.FUNCTIONS}{nginx.install(text)}")


def test_a_foreign_file_is_refused_until_it_is_adopted(server: Machine, foreign: Path) -> None:
    ran = checked(server)
    assert f"shop.test is served by {foreign} on web1 already" in ran.explained
    assert "Adopt that file" in ran.explained
    ran = adopting(server, foreign, "")
    assert ran.code == 0, ran
    assert not foreign.exists()
    kept = site_path(server).with_suffix(".adopted")
    assert kept.read_text() == "server { server_name shop.test; }\n"
    assert state(server) == "ours"


def test_the_link_of_a_foreign_file_goes_and_its_target_stays(server: Machine, foreign: Path) -> None:
    link = server.home / "enabled.conf"
    foreign.rename(target := server.home / "available")
    link.symlink_to(target)
    ran = adopting(server, link, "")
    assert ran.code == 0, ran
    assert f"{link} (a link to {target}, which stays) is out of nginx now" in ran.lines[-1]
    assert target.exists()
    assert not link.is_symlink()


@pytest.mark.parametrize("before_check", [True, False])
def test_a_foreign_file_that_was_changed_since_is_refused(server: Machine, foreign: Path, before_check: bool) -> None:
    change = f"echo '# mine' >>{foreign}\n"
    if before_check:
        digest = hashlib.sha256(foreign.read_bytes()).hexdigest()
        foreign.write_text("server { server_name shop.test; } # mine\n")
        ran = checked(server, f"web1 {digest} {foreign}")
    else:
        ran = adopting(server, foreign, change)
    assert ran.code == 1
    assert f"{foreign} on web1 was changed since the panel read it" in ran.explained
    assert "# mine" in foreign.read_text()
    assert not site_path(server).exists()


def test_a_second_foreign_file_is_refused(server: Machine, foreign: Path) -> None:
    other = server.home / "other.conf"
    other.write_text("server { server_name shop.test; }\n# another\n")
    ran = adopting(server, foreign, "")
    assert ran.code == 1
    assert f"served by {other}" in ran.explained
    assert foreign.exists()


def test_a_foreign_file_comes_back_where_nginx_refuses_and_on_the_way_back(server: Machine, foreign: Path) -> None:
    before = foreign.read_text()
    ran = adopting(server, foreign, "", text="broken\n")
    assert "so it was put back" in ran.explained
    assert foreign.read_text() == before
    assert not site_path(server).exists()
    (server.root / ".devflow" / "nginx.d2").rename(server.folder / "away")
    assert adopting(server, foreign, "").code == 0
    assert not foreign.exists()
    back = shell(server, f"{nginx.FUNCTIONS}put_back_nginx\n")
    assert server.run(back).code == 0
    assert server.run(back).code == 0
    assert foreign.read_text() == before
    assert list((server.folder / "devflow.d").iterdir()) == []


def test_what_is_read_of_a_server(server: Machine, foreign: Path) -> None:
    install(server, "server { one; }\n")
    script = server.folder / "read"
    script.write_text(shell(server, nginx.READ))
    where = [str(server.root), ID, "shop.test"]
    done = subprocess.run(
        ["sh", script, *where], env=server.environment(), stdout=subprocess.PIPE, text=True, check=True
    )
    found = proxy.read(done.stdout)
    assert found["state"] == "ours"
    assert found["text"] == site_path(server).read_text()
    text = foreign.read_text()
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert found["foreign"] == [{"path": str(foreign), "sum": digest, "text": text}]
