"""Secrets of every kind are planted, everything is used, and then they are looked for wherever they must not be."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from devflow.core.crypto import read_key_file
from tests.support.canaries import Canaries, ProcessWatch, dump
from tests.support.gitrepo import GitRepository
from tests.support.keys import make_key_pair
from tests.support.panel import Panel, wait_until
from tests.support.payloads import github_push, sent
from tests.support.receivers import Receiver, receiver
from tests.support.vps import Vps

pytestmark = pytest.mark.timeout(600)

ENDED = ("success", "failed", "rolled_back", "cancelled", "superseded")
EMAIL = "ada@example.test"
VARIABLES = "projects/shop/environments/production/variables"
PAGES = ("", "servers", "servers/web1", "projects", "projects/shop", "channels", "tokens", "team", "account", "audit")
PAGES += ("deployments", VARIABLES, f"{VARIABLES}/history", "projects/shop/webhook", "projects/shop/access")
LISTS = ("servers", "projects", "channels", "tokens", "deployments", "projects/shop/deliveries", "audit", VARIABLES)
SHOW = """\
echo "token is $TOKEN"; printf '%s\\n' "$TOKEN" "$MULTI" "$QUOTED" "$BASE" "$UNUSUAL"
cat "$FILE"; echo; printf %s "$TOKEN" | base64; printf %s "$TOKEN" | od -An -tx1 | tr -d ' \\n'; echo
printf '{"token": "%s"}\\n' "$TOKEN"; env | sort; set; export -p; sleep 0.3"""
# Programs say what they were given when they fail; a command of the user's own that had it as argument would show it.
FAIL = 'printf "%s\\n" "$TOKEN" | sh; cd "/no/$TOKEN/$QUOTED"'
SECOND_FACTORS = """
import django; django.setup()
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from devflow.apps.accounts.selectors import user_find
user = user_find(email={email!r})
TOTP.activate(user, {secret!r})
print(" ".join(RecoveryCodes.activate(user).get_unused_codes()))
"""


class Scene:
    """A panel in which everything was used, and what came out of it."""

    def __init__(self, panel: Panel, vps: Vps, stand_in: Receiver, folder: Path) -> None:
        self.panel, self.vps, self.stand_in, self.folder = panel, vps, stand_in, folder
        self.canaries = Canaries()
        self.streams: list[str] = []
        self.answers: list[tuple[str, str]] = []
        """What requests were answered that must tell no secret: refusals, and everything that is only read."""
        self.outputs: list[tuple[str, str]] = []
        self.api = httpx.Client(base_url=f"{panel.url}/api/v1/", timeout=60)
        self.browser = httpx.Client(base_url=panel.url, timeout=60, follow_redirects=True)

    # --- people -------------------------------------------------------------------------------------------------------

    def set_up(self) -> None:
        """The first user by the set-up page, logged in; tokens."""
        new = self.canaries.new
        address = re.findall(r"Set up: (\S+)", self.panel.output())[-1]
        self.canaries.add("set-up token", address.partition("token=")[2])
        self.password = f"{new('password')} 'of' \"Ada\""
        self.form(address, name="Ada", email=EMAIL, password=self.password, team_name="Canaries")
        self.log_in(self.password)
        made = self.panel.run("admin", "create-token", "--email", EMAIL, "--scopes", "read,deploy,admin")
        self.token = self.canaries.add("token of the command", made.stdout.split()[-1])
        self.api.headers["Authorization"] = f"Bearer {self.token}"
        for number in range(2):  # the second answer is the kept one
            again = {"Idempotency-Key": "once"}
            made_here = self.ok(self.api.post("tokens", json={"name": "CI", "scopes": ["read"]}, headers=again))
            self.canaries.add(f"token of the API {number}", made_here["token"])
        page = self.form("/team/", "/team/invite/", role="developer", email="")
        for raw in re.findall(r"/join/([^/\"<\s]+)", page.text):
            self.canaries.add("invitation", raw)
        reset = self.panel.run(
            "admin", "reset-password", "--email", EMAIL, "--password-stdin", stdin=self.new_password()
        )
        assert reset.returncode == 0, reset.stderr
        self.log_in(self.password)

    def new_password(self) -> str:
        self.password = f"{self.canaries.new('new password')} is long enough"
        return self.password + "\n"

    def log_in(self, password: str) -> None:
        self.browser.cookies.clear()
        self.form("/accounts/login/", login=EMAIL, password=password)
        self.canaries.add("session cookie", self.browser.cookies["devflow_session"])

    def form(self, page: str, action: str = "", **fields: str) -> httpx.Response:
        """Sends the form of a page, as a browser does."""
        html = self.browser.get(page).text
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', html)
        data = {"csrfmiddlewaretoken": token[1] if token else "", **fields}
        return self.browser.post(action or page, data=data, headers={"Referer": self.panel.url})

    def add_second_factors(self) -> None:
        secret = self.canaries.add("TOTP secret", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
        script = SECOND_FACTORS.format(email=EMAIL, secret=secret)
        environment = {**self.panel.environment, "DJANGO_SETTINGS_MODULE": "devflow.settings.base"}
        done = subprocess.run(
            [sys.executable, "-"], input=script, env=environment, capture_output=True, text=True, check=True
        )
        codes = done.stdout.split()
        assert len(codes) > 5
        self.codes = codes

    # --- servers, projects, deployments -------------------------------------------------------------------------------

    def add_server(self) -> None:
        key = self.canaries.add_key("private key of a server", self.vps.private_key)
        place = {"host": self.vps.host, "port": self.vps.port, "user": self.vps.user, "host_key": self.vps.host_key}
        self.ok(self.api.post("servers", json={"name": "web1", "private_key": key, **place}))
        self.refused(self.api.post("servers", json={"name": "web1", "private_key": key, **place}))
        self.refused(
            self.api.post("servers", json={"name": "b a d", "private_key": key, "host": "x" * 999, "port": -1})
        )
        cut = key[: len(key) // 2] + "\n" + key[len(key) // 2 :]
        self.refused(self.api.post("servers", json={"name": "web2", "private_key": cut, **place}))
        self.ok(self.api.post("servers/web1/check"))
        wait_until(lambda: self.api.get("servers/web1").json()["status"] == "online", 30, what=self.panel.output)

    def add_project(self, work: Path) -> None:
        new, vps = self.canaries.new, self.vps
        self.repository = GitRepository.on_server(vps, f"/home/{vps.user}/canary.git", work)
        self.repository.commit({"index.html": "first"})
        private, public = make_key_pair()
        self.canaries.add_key("deploy key", private)
        vps.run("cat >>.ssh/authorized_keys || cat >>~/.ssh/authorized_keys", stdin=public + "\n", check=False)
        address = f"ssh://{vps.user}@127.0.0.1{self.repository.path}"
        secret_url = f"https://ada:{new('password in an address')}@git.example.test/shop.git"
        self.refused(self.api.post("projects", json={"slug": "other", "repository": secret_url}))
        project = {"slug": "shop", "repository": address, "recipe": "static", "deploy_key": private}
        self.ok(self.api.post("projects", json=project))
        self.refused(self.api.post("projects", json={**project, "repository": "no address"}))
        environment = {"name": "production", "branch": "main", "servers": ["web1"], "root": "/srv/www/canary"}
        self.ok(self.api.post("projects/shop/environments", json={**environment, "auto_deploy": True}))
        webhook = self.ok(self.api.put("projects/shop/webhook", json={"provider": "github"}))
        self.hook, self.hook_secret = webhook["url"], self.canaries.add("webhook secret", webhook["secret"])
        access = {"access_token": new("provider's token"), "api_url": self.stand_in.url.rpartition("/hook")[0]}
        self.api.patch("projects/shop/source", json={**access, "repository": "acme/shop"})
        self.api.post("projects/shop/source/test")
        self.api.post("projects/shop/source/webhook")

    def set_variables(self) -> None:
        new = self.canaries.new
        place = "projects/shop/environments/production/variables"
        multi = "\n".join(f"{new('multi-line variable')} line {number}" for number in range(4))
        values = {"TOKEN": new("variable"), "QUOTED": f"\"{new('quoted variable')}\" 'x' $HOME `id` \\ %41"}
        values |= {"MULTI": multi, "UNUSUAL": f"ä {new('variable beside signs')} ✓ = # !"}
        self.ok(self.api.post(place, json={"values": values}))
        self.ok(self.api.post(place, json={"values": {"FILE": f"{new('file')}\nof two lines\n"}, "kind": "file"}))
        base = "projects/shop/variables"
        self.ok(self.api.post(base, json={"values": {"BASE": new("base variable")}}))
        self.ok(self.api.post(place, json={"values": {"OLD": new("replaced variable")}}))
        self.ok(self.api.post(place, json={"values": {"OLD": new("removed variable")}}))
        self.api.delete(f"{place}/OLD")
        self.refused(self.api.post(place, json={"values": {"no name": new("variable without a name")}}))
        self.refused(self.api.post(place, json={"values": {"TOO_LONG": new("variable too long") + "x" * 200_000}}))
        self.refused(self.api.post(f"{place[:-9]}dotenv", json={"text": f"A={new('bad .env')}\n'what is this"}))
        self.refused(self.api.post(place, content=f'{{"values": {{"A": "{new("broken JSON")}"'))
        page = "/projects/shop/environments/production/variables/"
        for fields in ({"key": "no name"}, {"key": "PATH"}, {"key": "A", "kind": "no kind"}, {"key": ""}):
            self.refused(self.form(page, f"{page}set/", **{"kind": "secret", **fields, "value": new("bad form")}))
        self.refused(self.form(page, f"{page}import/", text=f"'{new('bad import')}"))

    def deploy_all(self) -> None:
        """Successes, failures, a rollback, one that is cancelled; everything printed that a command can print."""
        place = "projects/shop/environments/production"
        self.set_commands({"prepare": [SHOW], "verify": ["echo fine"]})
        self.ok(self.api.get(f"{place}/plan"))
        first = self.wait_ended(self.ok(self.api.post(f"{place}/deployments", json={}))["id"])
        assert first["status"] == "success", first
        self.set_commands({"prepare": [SHOW, 'echo "refused: $TOKEN" >&2; exit 3']})
        failed = self.wait_ended(self.ok(self.api.post(f"{place}/deployments", json={}))["id"])
        assert failed["status"] == "failed", failed
        self.set_commands({"verify": [SHOW, FAIL]})
        assert self.wait_ended(self.ok(self.api.post(f"{place}/deployments", json={}))["id"])["status"] == "rolled_back"
        self.set_commands({"prepare": [SHOW, "sleep 60"]})
        running = self.ok(self.api.post(f"{place}/deployments", json={}))["id"]
        wait_until(lambda: "token is" in self.api.get(f"deployments/{running}/log").text, 30, what=self.panel.output)
        self.ok(self.api.post(f"deployments/{running}/cancel"))
        assert self.wait_ended(running)["status"] == "cancelled"
        self.set_commands({})
        push = self.repository.commit({"index.html": "second"})
        body, headers = sent("github", github_push(push), self.hook_secret)
        pushed = self.ok(httpx.post(self.hook, content=body, headers=headers))
        assert self.wait_ended(pushed["deployment"])["status"] == "success"
        back = self.wait_ended(self.ok(self.api.post(f"{place}/rollback", json={}))["id"])
        assert back["status"] == "success", back
        wrong = {**headers, "x-hub-signature-256": f"sha256={self.canaries.new('bad signature')}"}
        self.refused(httpx.post(self.hook, content=body + b" ", headers=wrong))
        for page in (
            f"deployments/{failed['id']}",
            f"deployments/{failed['id']}/plan",
            f"deployments/{failed['id']}/log",
        ):
            self.answers.append((page, self.api.get(page).text))
            self.answers.append((page, self.browser.get(f"/{page}/").text))

    def set_commands(self, commands: dict[str, list[str]]) -> None:
        self.ok(self.api.patch("projects/shop/environments/production", json={"phase_commands": commands}))

    def wait_ended(self, deployment: str) -> dict[str, Any]:
        with self.followed(deployment):
            return dict(
                wait_until(
                    lambda: (found := self.api.get(f"deployments/{deployment}").json())["status"] in ENDED and found,
                    60,
                    what=self.panel.output,
                )
            )

    @contextmanager
    def followed(self, deployment: str) -> Iterator[None]:
        """Keeps all that the stream of events sends."""

        def follow() -> None:
            with httpx.stream("GET", f"{self.api.base_url}deployments/{deployment}/events", headers=self.api.headers,
                              timeout=60) as answer:  # fmt: skip
                for text in answer.iter_text():
                    self.streams.append(text)
                    if "deployment.completed" in text:
                        return

        thread = threading.Thread(target=follow)
        thread.start()
        yield
        thread.join(30)
        assert not thread.is_alive()

    # --- people are told ----------------------------------------------------------------------------------------------

    def add_channels(self) -> None:
        new = self.canaries.new
        hook = self.stand_in.url.replace("secret-part", new("address of a channel"))
        mail = {"to": ["ada@example.test"], "host": "127.0.0.1", "port": 1, "encryption": "none", "user": "ada"}
        given = {
            "webhook": {"url": hook, "secret": new("secret of a channel")},
            "slack": {"url": f"https://hooks.slack.com/services/T0/B0/{new('address of Slack')}"},
            "email": {**mail, "password": new("password of a mail server")},
        }
        for kind, settings in given.items():
            made = self.api.post("channels", json={"kind": kind, "name": kind, "settings": settings})
            assert made.is_success or kind == "email", made.text
            self.refused(self.api.post("channels", json={"kind": kind, "name": kind, "settings": settings}))
            if made.is_success:
                self.ok(self.api.post(f"channels/{made.json()['id']}/test"))
        settings = {"url": f"ftp://{new('bad address of a channel')}/", "secret": "short"}
        self.refused(self.api.post("channels", json={"kind": "webhook", "name": "x", "settings": settings}))

    # --- the command line, and mistakes -------------------------------------------------------------------------------

    def use_commands(self) -> None:
        environment = {"DEVFLOW_URL": self.panel.url, "XDG_CONFIG_HOME": str(self.folder / "config")}
        config = self.folder / "config" / "devflow"
        config.mkdir(parents=True)
        (config / "credentials.json").write_text(json.dumps({"url": self.panel.url, "token": self.token}))
        (config / "credentials.json").chmod(0o600)
        new = self.canaries.new
        for words, stdin in (
            (["variables", "set", "shop", "production", "BY_COMMAND"], new("variable of the command")),
            (["variables", "set", "shop", "production", "no name"], new("bad variable of the command")),
            (["variables", "list", "shop", "production"], ""),
            (["servers", "list"], ""),
            (["deploy", "shop", "production"], ""),
            (["login", self.panel.url], new("bad token of the command")),
            (
                ["admin", "reset-password", "--email", "nobody@example.test", "--password-stdin"],
                new("password of nobody"),
            ),
        ):
            done = subprocess.run(
                self.panel.command(*words),
                env={**self.panel.environment, **environment},
                input=stdin,
                capture_output=True,
                text=True,
                timeout=120,
            )
            self.outputs.append((" ".join(words), done.stdout + done.stderr))

    def make_mistakes(self) -> None:
        new = self.canaries.new
        url = self.panel.url
        for method in ("GET", "POST", "DELETE"):
            bad = {"Authorization": f"Bearer {new('bad token')}"}
            self.refused(httpx.request(method, f"{url}/api/v1/servers", headers=bad))
        self.refused(httpx.get(f"{url}/api/v1/servers", headers={"Authorization": f"Basic {new('basic')}"}))
        cookies = {"devflow_session": new("bad cookie")}
        self.refused(httpx.get(f"{url}/servers/", cookies=cookies, follow_redirects=False))
        self.refused(httpx.get(f"{url}/setup", params={"token": new("bad set-up token")}))
        self.refused(httpx.get(f"{url}/join/{new('bad invitation')}/", follow_redirects=True), echo_in_url=True)
        self.refused(httpx.post(f"{url}/webhooks/github/{new('bad webhook')}", content=b"{}"))
        with httpx.Client(base_url=url, follow_redirects=True) as stranger:
            page = stranger.get("/accounts/login/").text
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
            assert token
            fields = {"csrfmiddlewaretoken": token[1], "login": EMAIL, "password": new("wrong password")}
            self.refused(stranger.post("/accounts/login/", data=fields, headers={"Referer": url}))
            fields["password"] = new("password without CSRF")
            stranger.cookies.clear()
            self.refused(stranger.post("/accounts/login/", data=fields))
        key = "-----BEGIN OPENSSH PRIVATE KEY-----\n" + new("broken key") * 3 + "\n-----END OPENSSH PRIVATE KEY-----\n"
        form = {"name": "web9", "host": "192.0.2.1", "port": "22", "user": "deploy", "private_key": key}
        self.refused(self.form("/add/server/", **form))
        form = {"name": "x", "setting_url": f"https://example.test/{new('bad address of Slack')}"}
        self.refused(self.form("/add/channel/slack/", **form))
        form = {"name": "x", "setting_to": "nobody", "setting_password": new("mail password in a form")}
        self.refused(self.form("/add/channel/email/", **form))
        self.refused(self.form("/projects/shop/access/", api_url="no address", access_token=new("token in a form")))
        form = {"slug": "x y", "name": "X", "repository": "git@x:y", "deploy_key": key}
        self.refused(self.form("/add/project/", **form))
        for page in PAGES:
            self.answers.append((page, self.browser.get(f"/{page}/".replace("//", "/")).text))
        for path in LISTS:
            answer = self.api.get(path)
            self.answers.append((path, answer.text))
            for item in answer.json().get("items", []) if answer.is_success else []:
                if "id" in item:
                    self.answers.append((f"{path} {item['id']}", self.api.get(f"{path}/{item['id']}").text))

    def ok(self, answer: httpx.Response) -> Any:
        assert answer.is_success, f"{answer.request.method} {answer.request.url} {answer.status_code}: {answer.text}"
        return answer.json() if "json" in answer.headers.get("content-type", "") else None

    def refused(self, answer: httpx.Response, *, echo_in_url: bool = False) -> None:
        """What was answered, its headers too, tells no secret."""
        headers = "\n".join(f"{name}: {value}" for name, value in answer.headers.items() if not echo_in_url)
        self.answers.append((f"{answer.request.method} {answer.request.url.path}", f"{headers}\n{answer.text}"))


@pytest.fixture(scope="module")
def scene(vps: Vps, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("canaries")
    for name in ("home", "tmp", "watch"):
        (folder / name).mkdir()
    with pytest.MonkeyPatch.context() as patch, receiver() as stand_in:
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("TMPDIR", str(folder / "tmp"))
        panel = Panel(folder / "data", DEVFLOW_ALLOW_PRIVATE_ADDRESSES="127.0.0.0/8")
        with panel:
            scene = Scene(panel, vps, stand_in, folder)
            (master,) = read_key_file(panel.data_dir / "master.key")
            scene.canaries.add("master key", master.hex())
            with ProcessWatch(folder / "watch") as scene.watch:
                scene.set_up()
                scene.add_server()
                scene.add_channels()
                scene.add_project(folder / "work")
                scene.set_variables()
                scene.deploy_all()
                scene.use_commands()
                scene.make_mistakes()
                scene.add_second_factors()
                time.sleep(1)
            yield scene
            scene.api.close()
            scene.browser.close()


def test_the_canaries_are_recognised(scene: Scene) -> None:
    """What finds nothing must be able to find something: each form is seen where it is put on purpose."""
    value = scene.canaries.new("seen")
    for text in (value, value[::-1], value.encode().hex(), base64.b64encode(b"x" + value.encode()).decode()):
        assert scene.canaries.find(f'say "{text}" loud', "a text"), text
    assert not scene.canaries.find("nothing of it", "a text")
    exported = scene.api.get("projects/shop/environments/production/dotenv").text
    assert len(scene.canaries.find(exported, "an export")) >= 8  # an export is for seeing them
    assert scene.stand_in.got, "no channel was told anything"
    assert scene.watch.arguments.read_bytes().count(b"devflow.worker")
    assert b"sh -ec" in scene.watch.arguments.read_bytes()  # a step of a run, in the container


def test_the_database_holds_none(scene: Scene) -> None:
    url = (scene.panel.data_dir / "postgres.url").read_text().strip()
    assert scene.canaries.find_in_database(url) == []
    text = b"".join(data for _, data in dump(url)).decode(errors="replace")
    assert [code for code in scene.codes if code in text] == []


def test_the_files_of_the_panel_hold_none(scene: Scene) -> None:
    """Logs, PostgreSQL's own files and its journal, and whatever was left in the folder for temporary files."""
    assert scene.canaries.find_in_files(scene.panel.data_dir, but=[scene.panel.data_dir / "master.key"]) == []
    assert scene.canaries.find_in_files(scene.folder / "tmp") == []
    assert scene.canaries.find_in_files(scene.folder / "home") == []


def test_the_logs_tell_none(scene: Scene) -> None:
    told = "\n".join(line for line in scene.panel.output().splitlines() if not line.startswith("Set up:"))
    assert scene.canaries.find(told, "the panel's output") == []
    assert scene.canaries.find("\n".join(f"{words}\n{text}" for words, text in scene.outputs), "the commands") == []


def test_streams_and_answers_tell_none(scene: Scene) -> None:
    text = "".join(scene.streams)
    assert "token is ***" in text  # it was printed, and masked
    assert scene.canaries.find(text, "the streams of events") == []
    assert [found for where, answer in scene.answers for found in scene.canaries.find(answer, where)] == []


def test_what_others_are_told_holds_none(scene: Scene) -> None:
    """Messages to channels carry the channel's own address and nothing else that is secret."""
    for got in scene.stand_in.got:
        if got.path.startswith("/hook/"):
            assert scene.canaries.find(got.body, "a message") == []


def test_no_process_shows_one(scene: Scene) -> None:
    assert scene.canaries.find(scene.watch.arguments.read_bytes(), "the arguments of processes") == []
    assert scene.canaries.find(scene.watch.environments.read_bytes(), "the environments of processes") == []


def test_the_server_keeps_them_for_their_owner_only(scene: Scene) -> None:
    """What an application needs is there, for its own user; what carried it there is gone."""
    vps = scene.vps
    variable = scene.api.get("projects/shop/environments/production/dotenv").text
    tokens = sorted(set(re.findall(r"cn[0-9a-f]{18}", variable)))
    assert len(tokens) >= 8
    patterns = "\n".join(tokens) + "\n"
    folders = "/home /root /tmp /var/tmp /var/log /srv /etc /run /dev/shm"
    found = vps.run(f"grep -rlIF -f - {folders} 2>/dev/null || true", user="root", stdin=patterns).stdout.split()
    expected = re.compile(r"^/srv/www/canary/shared/\.env(\.d/.*)?$|^/home/deploy/\.devflow/runs/[^/]+/log$")
    assert [path for path in found if not expected.match(path)] == []
    assert any("/.env.d/" in path for path in found)
    quoted = " ".join(map(shlex.quote, found))
    assert vps.run(f"find {quoted} -follow -perm /077", user="root").stdout == ""
    assert vps.run("find ~/.devflow/runs -name script -o -name deploy_key").stdout == ""
    key = scene.canaries
    listing = vps.run(f"find {folders} -type f -size -1000k -newer /etc/hostname 2>/dev/null", user="root", check=False)
    for path in listing.stdout.split():
        if not path.endswith("authorized_keys") and "/ssh_host_" not in path:
            text = vps.run(f"cat {shlex.quote(path)}", user="root", check=False).stdout if "/.devflow/" in path else ""
            assert not [each for each in key.find(text, path) if "key" in each]
