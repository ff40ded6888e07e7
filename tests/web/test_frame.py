"""What all pages share: the security policy, error pages, built files, tags and filters."""

from __future__ import annotations

import gzip
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import override

from devflow.apps.accounts.models import Role
from devflow.apps.deployments.models import Status, StepStatus
from devflow.apps.servers.models import ServerStatus
from devflow.engine.task import Phase
from devflow.web import assets, looks
from devflow.web.presenters.deployments import PHASES
from devflow.web.templatetags import panel
from tests.web.world import World

TEMPLATES = Path(assets.__file__).parent / "templates"


@pytest.mark.parametrize(
    "template", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: str(path.relative_to(TEMPLATES))
)
def test_templates_hold_nothing_that_the_policy_forbids(template: Path) -> None:
    source = template.read_text("utf-8")
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|javascript:|hx-on|hx-vals=.js:", source)
    assert all('src="' in tag for tag in re.findall(r"<script[^>]*>", source))


def test_what_is_not_there_is_said_kindly(owner: Client) -> None:
    answer = owner.get("/nothing/at/all/")
    assert answer.status_code == 404
    assert "/projects/" in answer.content.decode(), "the way back is there"
    assert "There is nothing at this address" in answer.content.decode()


def test_who_may_not_reads_why(viewer: Client) -> None:
    answer = viewer.post("/servers/web-1/remove/")
    assert answer.status_code == 403
    assert "viewer" in answer.content.decode()


def test_an_error_page_needs_nothing_that_may_be_broken(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> bool:
        raise RuntimeError("the database is gone")

    monkeypatch.setattr("devflow.web.views.setup.setup_token_valid", broken)
    client.raise_request_exception = False
    answer = client.get(reverse("setup"))
    assert answer.status_code == 500
    assert "Something went wrong here" in answer.content.decode()
    assert "database is gone" not in answer.content.decode()


def test_built_files_have_the_hash_of_their_content_in_the_name() -> None:
    assert re.fullmatch(r"/static/build/app-[0-9A-Z]{8}\.css", assets.asset_url("app.css"))


def test_a_file_that_was_not_built_says_what_to_do() -> None:
    with pytest.raises(ImproperlyConfigured, match="npm run build"):
        assets.asset_url("nothing.js")


def test_built_files_may_be_kept_for_ever(client: Client, db: None) -> None:
    answer = client.get(assets.asset_url("app.css"))
    assert "immutable" in answer["Cache-Control"]
    answer.close()


@pytest.mark.parametrize("accepted", ["br", "gzip"])
def test_built_files_travel_small(client: Client, db: None, accepted: str) -> None:
    whole = client.get(assets.asset_url("app.css"))
    small = client.get(assets.asset_url("app.css"), headers={"Accept-Encoding": accepted})
    assert (whole.get("Content-Encoding"), small["Content-Encoding"]) == (None, accepted)
    assert "Accept-Encoding" in small["Vary"]
    assert int(small["Content-Length"]) < int(whole["Content-Length"]) / 3
    whole.close()
    small.close()


def test_every_state_has_its_look() -> None:
    assert set(looks.DEPLOYMENT) == set(Status.values)
    assert set(looks.STEP) == set(StepStatus.values)
    assert set(looks.SERVER) == set(ServerStatus.values)
    assert set(PHASES) == set(Phase)


def test_a_state_that_only_a_newer_version_knows_is_shown_as_it_is_stored() -> None:
    shown = looks.look("outcome", "half <done>")
    assert (shown.word, shown.tone) == ("half <done>", "")
    assert "half &lt;done&gt;" in panel.status("outcome", "half <done>")


def test_every_icon_that_a_template_names_is_drawn() -> None:
    drawn = set(re.findall(r'id="i-([a-z-]+)"', (TEMPLATES / "parts/icons.svg").read_text("utf-8")))
    sources = [path.read_text("utf-8") for path in TEMPLATES.rglob("*.html")]
    named = {name for source in sources for name in re.findall(r'(?:{% icon |mark=)"([a-z-]+)"', source)}
    assert len(named) > 30
    assert named - drawn == set()


@pytest.mark.parametrize("look", [look for looks_of in looks.LOOKS.values() for look in looks_of.values()])
def test_every_icon_is_drawn(look: looks.Look) -> None:
    assert f'id="i-{look.icon}"' in (TEMPLATES / "parts/icons.svg").read_text("utf-8")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, ""),
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (12.9, "12 s"),
        (60, "1 min 00 s"),
        (185.2, "3 min 05 s"),
        (3720, "1 h 02 min"),
    ],
)
def test_durations_read_well(seconds: float | None, shown: str) -> None:
    assert panel.duration(seconds) == shown


def test_what_has_begun_is_shown_with_how_long_ago() -> None:
    assert panel.elapsed(timezone.now() - timedelta(minutes=3, seconds=5)) == "3 min 05 s"
    assert panel.elapsed(timezone.now() + timedelta(seconds=2)) == "0.0 s"  # clocks differ


@pytest.mark.parametrize(
    ("size", "shown"),
    [(None, ""), (0, "0 B"), (512, "512 B"), (2048, "2.0 kB"), (150 * 1024, "150 kB"), (3 * 1024**4, "3.0 TB")],
)
def test_amounts_read_well(size: float | None, shown: str) -> None:
    assert panel.amount(size) == shown


def test_times_are_read_by_people_and_scripts() -> None:
    moment = datetime(2020, 11, 21, 9, 30, tzinfo=UTC)
    shown = str(panel.ago(moment))
    assert shown.startswith('<time datetime="2020-11-21T09:30:00+00:00" title="2020-11-21 09:30 UTC" data-ago>')
    assert shown.endswith(" days ago</time>")
    assert panel.ago(None) == "never"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "just now"), (43, "just now"), (45, "1 min ago"), (85, "1 min ago"), (90, "2 min ago"),
        (3590, "60 min ago"),
        (3600, "1 h ago"), (5400, "2 h ago"), (86000, "24 h ago"), (86400, "yesterday"), (129500, "yesterday"),
        (129600, "2 days ago"), (86400 * 1234, "1,234 days ago"),
    ],
)  # fmt: skip
def test_times_ago_are_what_the_script_makes_of_them(seconds: float, shown: str) -> None:
    moment = timezone.now() - timedelta(seconds=seconds)
    with override("en"):
        assert f">{shown}<" in panel.ago(moment)


@pytest.mark.parametrize(
    ("statuses", "state"),
    [([], "idle"), (["success"], "idle"), (["success", "failed"], "failed"), (["failed", "queued"], "running")],
)
def test_the_tab_shows_the_most_urgent(statuses: list[str], state: str) -> None:
    assert looks.tab_state(statuses) == state


def test_pages_are_compressed_for_whom_takes_that_and_files_are_not(world: World) -> None:
    owner = world.client(Role.OWNER)
    plain = owner.get("/projects/shop/")
    packed = owner.get("/projects/shop/", headers={"Accept-Encoding": "gzip, br"})
    assert "Content-Encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["Vary"]
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.content) == int(packed.headers["Content-Length"]) < len(plain.content) / 3
    assert b"</html>" in gzip.decompress(packed.content)
    log = owner.get(f"/deployments/{world.deployment.pk}/log/", headers={"Accept-Encoding": "gzip"})
    assert log.streaming
    assert "Content-Encoding" not in log.headers
