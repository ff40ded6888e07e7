"""The panel as an app: what may be kept without a network, the service worker, notifications on one's devices."""

from __future__ import annotations

import json
import re
from math import cos, radians, sin
from pathlib import Path

import pytest
from django.test import Client
from django.urls import resolve
from django_scopes import scopes_disabled

from devflow.apps.accounts.models import Role, User
from devflow.apps.notifications import devices
from devflow.apps.notifications.models import PushDevice, PushMessage
from devflow.web import assets
from devflow.web.offline import HEADER, keeper
from tests.support.push_service import Browser
from tests.web.walk import filling, pages
from tests.web.world import PASSWORD, World, log_in

KEPT = {
    *("dashboard", "projects", "project", "environment", "deployments", "deployment", "servers", "server"),
}
WEB = Path(assets.__file__).parent


def given(browser: Browser | None = None, endpoint: str = "https://push.example.com/1") -> dict[str, str]:
    browser = browser or Browser()
    return {"endpoint": endpoint, "p256dh": browser.p256dh, "auth": browser.auth}


def all_devices() -> list[PushDevice]:
    with scopes_disabled():
        return list(PushDevice.objects.order_by("id"))


def test_only_named_pages_may_be_kept(world: World) -> None:
    owner, places = world.client(Role.OWNER), filling(world)
    for page in filter(lambda page: page.is_ours, pages()):
        view = resolve(page.address(places)).func
        is_kept = getattr(view, "is_kept", False)
        assert is_kept == (page.name in KEPT), page.name
        if is_kept:
            answer = owner.get(page.address(places))
            assert answer[HEADER] == keeper(world.actor()), page.name
            assert "Cache-Control" not in answer, "by the headers of all answers: no-store"


def test_a_page_is_kept_for_one_person_in_one_team_and_without_results(world: World) -> None:
    owner, viewer = world.client(Role.OWNER), world.client(Role.VIEWER)
    told = {client.get("/")[HEADER] for client in (owner, viewer, world.client("outsider"))}
    assert len(told) == 3
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in told)
    assert HEADER not in owner.get("/", headers={"HX-Request": "true"})
    owner.post("/account/keys/", {"on": "no"})
    assert HEADER not in owner.get("/"), "what was done is told once"
    assert HEADER in owner.get("/")
    assert HEADER not in Client().get("/")
    assert HEADER not in owner.get("/projects/nothing/")


def test_the_service_worker_changes_with_what_was_built(client: Client) -> None:
    answer = client.get("/service-worker.js")
    text = answer.content.decode()
    assert answer["Content-Type"] == "text/javascript; charset=utf-8"
    built = json.loads((assets.BUILD / "manifest.json").read_text("utf-8"))
    for name in set(built) - {"service-worker.js"}:
        assert built[name] in text, name


def test_the_page_without_a_network_tells_nothing_of_anybody(world: World) -> None:
    text = world.client(Role.OWNER).get("/offline/").content.decode()
    assert "You are offline" in text
    for word in ("data-person", "Acme", "owner@example.test", "csrfmiddlewaretoken", "data-events"):
        assert word not in text
    assert text == Client().get("/offline/").content.decode()


@pytest.mark.parametrize("theme", ["system", "light", "dark"])
def test_the_colours_of_the_window_are_those_of_the_pages(client: Client, theme: str) -> None:
    tokens = (WEB / "static/css/tokens.css").read_text("utf-8")
    found = re.findall(r"--color-base-100: oklch\(([\d.]+)% ([\d.]+) ([\d.]+)\)", tokens)
    light, dark = (_hexadecimal(float(each[0]) / 100, float(each[1]), float(each[2])) for each in found)
    client.cookies["theme"] = theme
    head = client.get("/offline/").content.decode()
    metas = dict(re.findall(r'name="theme-color" content="([^"]+)"(?: media="([^"]+)")?', head))
    scheme = "(prefers-color-scheme: {})"
    assert (
        metas
        == {
            "system": {light: scheme.format("light"), dark: scheme.format("dark")},
            "light": {light: "", dark: "not all"},
            "dark": {light: "not all", dark: ""},
        }[theme]
    )
    for name in ("app.webmanifest", "app.de.webmanifest"):
        manifest = json.loads((WEB / "static/img" / name).read_text("utf-8"))
        assert (manifest["theme_color"], manifest["background_color"]) == (light, light)


def _hexadecimal(lightness: float, chroma: float, hue: float) -> str:
    """oklch → #rrggbb (CSS Color 4)."""
    a, b = chroma * cos(radians(hue)), chroma * sin(radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(
        f"{round(255 * (12.92 * x if x <= 0.0031308 else 1.055 * x ** (1 / 2.4) - 0.055)):02x}" for x in linear
    )


def test_a_device_is_switched_on_listed_tested_and_removed(world: World) -> None:
    viewer = world.client(Role.VIEWER)
    page = viewer.get("/account/")
    assert devices.push_key().public in page.content.decode()
    answer = viewer.post("/account/devices/add/", given(), headers={"User-Agent": "Firefox/140 Android"})
    assert (answer.status_code, answer["Location"]) == (302, "/account/")
    [device] = all_devices()
    text = viewer.get("/account/").content.decode()
    for word in (
        "Firefox on Android",
        "This device is told when a deployment of Acme fails",
        "Switch off",
        'data-push-here="team"',
    ):
        assert word in text
    assert "push.example.com/1" not in text
    assert "Firefox on Android" not in world.client(Role.OWNER).get("/account/").content.decode()
    viewer.post(f"/account/devices/{device.pk}/test/")
    with scopes_disabled():
        assert PushMessage.objects.get().device == device
    assert (
        "A test is on its way already."
        in viewer.post(f"/account/devices/{device.pk}/test/", follow=True).content.decode()
    )
    for action in ("test", "remove"):
        assert world.client(Role.OWNER).post(f"/account/devices/{device.pk}/{action}/").status_code == 404
    viewer.post(f"/account/devices/{device.pk}/remove/")
    assert all_devices() == []


def test_what_is_no_push_service_is_refused_in_words(world: World) -> None:
    viewer = world.client(Role.VIEWER)
    answer = viewer.post("/account/devices/add/", given(endpoint="https://10.0.0.7/"), follow=True)
    assert "10.0.0.7 is a private address" in answer.content.decode()
    assert viewer.post("/account/devices/renew/", given(endpoint="https://10.0.0.7/")).status_code == 404
    assert all_devices() == []


def test_a_device_follows_its_log_in_and_ends_with_it(world: World) -> None:
    viewer, browser = world.client(Role.VIEWER), Browser()
    viewer.post("/account/devices/add/", given(browser))
    before = all_devices()[0].session_key
    viewer.post(
        "/accounts/password/change/",
        {"oldpassword": PASSWORD, "password1": "an even longer phrase", "password2": "an even longer phrase"},
    )
    viewer.get("/")
    [device] = all_devices()
    assert device.session_key not in ("", before), "the session has another key"
    assert devices.is_told(device)
    other = Client()
    log_in(other, User.objects.get(pk=world.people[Role.VIEWER].pk))  # with the new password
    other.post("/account/sessions/end/")
    [device] = all_devices()
    assert not devices.is_told(device)
    assert other.post("/account/devices/renew/", given(browser)).status_code == 204
    [device] = all_devices()
    assert devices.is_told(device), "the browser has logged in anew"
    assert 'data-push-here="team"' in other.get("/account/").content.decode()
    other.post("/accounts/logout/")
    assert not devices.is_told(device)
    owner = world.client(Role.OWNER)
    assert owner.post("/account/devices/renew/", given(browser)).status_code == 404
