"""Pages in another language: all of a page is translatable, the choice is kept, the API stays English."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.db import transaction
from django.test import Client
from django.utils.translation import gettext, ngettext, override
from pytest_django.plugin import DjangoDbBlocker

from devflow.apps.accounts.models import Role, User
from devflow.apps.told import catalog as told_catalog
from devflow.apps.told import told
from devflow.recipes import RECIPES
from devflow.web import language
from devflow.web.looks import LOOKS, WORDS
from devflow.web.templatetags.panel import ago, amount, duration
from tests.support.pseudo import commas, marked, unmarked, words_in, words_of_data
from tests.support.undone import undone
from tests.web.walk import Page, ask, filling, pages
from tests.web.world import World, make_world

NOT_YET: set[str] = set()
"""Pages with texts that are not translatable yet. None may join them; who wraps one takes it off."""
NOT_AT_ALL = {"styleguide": "for who works on the pages"}
OF_NO_LANGUAGE = {
    *(
        "devflow",
        "pro",
        "api",
        "git",
        "url",
        "ssh",
        "id",
        "csv",
        "json",
        "yml",
        "env",
        "http",
        "https",
        "example",
        "com",
    ),
    *("english", "deutsch", "utc", "ms", "min", "kb", "mb", "gb"),
    *("nginx", "haproxy", "docker", "systemd", "apt", "webhook"),
    *("github", "gitlab", "bitbucket", "gitea", "slack", "discord", "teams"),
}
"""Words that are the same in every language."""

PAGES = [page for page in pages() if page.methods is None or "GET" in page.methods]
GERMAN = {"HTTP_ACCEPT_LANGUAGE": "de-AT,de;q=0.9,en;q=0.5"}


@pytest.fixture(scope="module")
def walked(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """One world for all pages."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield make_world()
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def words(walked: World) -> set[str]:
    filling(walked)  # makes what is only made when it is asked for
    steps = [task.name for recipe in RECIPES.values() for task in recipe.tasks]
    return words_of_data() | words_in(" ".join(steps)) | OF_NO_LANGUAGE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_all_of_a_page_is_translatable(page: Page, walked: World, words: set[str]) -> None:
    client = walked.client(Role.OWNER)
    client.defaults |= GERMAN
    with marked(), undone():
        answer = ask(client, "GET", page.address(filling(walked)))
    if not answer.get("Content-Type", "").startswith("text/html"):
        return
    html = answer.content.decode()
    left = unmarked(html, words)
    assert not left or page.name in NOT_YET or page.name in NOT_AT_ALL, left
    assert not commas(html)


# --- which language ---------------------------------------------------------------------------------------------------


def language_of(client: Client, address: str = "/") -> str:
    answer = client.get(address)
    spoken = answer.content.decode().split('<html lang="')[1][:2]
    assert answer["Content-Language"] == spoken
    assert "Accept-Language" in answer["Vary"]
    return spoken


def choose(client: Client, chosen: str) -> None:
    assert client.post("/account/language/", {"language": chosen}).status_code == 302


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("asked", "spoken"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-CH", "de"),
        ("fr,de;q=0.5,en;q=0.4", "de"),
        ("fr", "en"),
        ("en-GB,de;q=0.9", "en"),
        ("../../etc,de", "en"),
        ("de," * 5000, "de"),
        ("\x00;q=x,,;", "en"),
    ],
)
def test_who_is_not_logged_in_reads_what_the_browser_asks_for(client: Client, asked: str, spoken: str) -> None:
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = asked
    assert language_of(client, "/accounts/login/") == spoken
    assert language_of(client, "/there/is/nothing/") == spoken


def test_a_chosen_language_is_kept_until_another_is_chosen(world: World, viewer: Client) -> None:
    viewer.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    choose(viewer, "de")
    assert language_of(viewer) == "de"
    assert language_of(world.client(Role.VIEWER)) == "de"
    assert language_of(world.client(Role.OWNER)) == "en"
    choose(viewer, "")
    assert language_of(viewer) == "en"
    viewer.defaults |= GERMAN
    assert language_of(viewer) == "de"
    choose(viewer, "en")
    assert language_of(viewer, "/there/is/nothing/") == "en"


@pytest.mark.parametrize("nonsense", ["fr", "xx", "de-AT", "../de", "\0"])
def test_a_language_that_there_is_not_is_refused(world: World, viewer: Client, nonsense: str) -> None:
    choose(viewer, nonsense)
    assert User.objects.get(pk=world.people[Role.VIEWER].pk).language == ""


def test_one_language_does_not_stay_for_the_next_request(owner: Client, client: Client) -> None:
    choose(owner, "de")
    owner.get("/")
    assert language_of(client, "/accounts/login/") == "en"


def test_the_api_answers_in_english_whoever_asks(world: World, owner: Client) -> None:
    choose(owner, "de")
    requests = [
        ("get", "/api/v1/projects/nothing", None),
        ("post", "/api/v1/projects", {}),
        ("post", "/api/v1/projects", {"slug": "Not A Name", "repository": "x" * 3000}),
        ("post", "/api/v1/servers", {"name": "", "host": "-", "port": 0}),
        ("get", "/api/v1/nothing", None),
    ]
    for method, address, data in requests:
        answers = [
            getattr(owner, method)(address, data, content_type="application/json", headers={"Accept-Language": asked})
            for asked in ("de", "en")
        ]
        said = [{**json.loads(answer.content), "id": ""} for answer in answers]
        assert said[0] == said[1], address
        assert "Content-Language" not in answers[0]


# --- how things are written -------------------------------------------------------------------------------------------


def test_numbers_and_dates_are_written_as_the_language_writes_them() -> None:
    moment = datetime(2026, 11, 2, 5, 7, tzinfo=UTC)
    written = {}
    for spoken in ("en", "de"):
        with override(spoken):
            written[spoken] = (
                amount(1500),
                duration(9.96),
                duration(3661),
                str(ago(moment)).split('title="')[1].split('"')[0],
            )
    assert written["en"] == ("1.5 kB", "10.0 s", "1 h 01 min", "2026-11-02 05:07 UTC")
    assert written["de"] == ("1,5 kB", "10,0 s", "1 h 01 min", "02.11.2026 05:07 UTC")


def test_what_is_counted_has_its_forms() -> None:
    one, many = "%(count)s day", "%(count)s days"
    with override("de"):
        assert [ngettext(one, many, n) % {"count": n} for n in (0, 1, 2)] == ["0 Tage", "1 Tag", "2 Tage"]
    assert language.script_texts("de")["%(count)s line"] == ["%(count)s Zeile", "%(count)s Zeilen"]
    assert language.script_texts("en") == {}


def test_a_page_brings_the_texts_of_its_scripts_along(client: Client, db: None) -> None:
    assert 'id="words"' not in client.get("/accounts/login/").content.decode()
    page = client.get("/accounts/login/", headers={"Accept-Language": "de"}).content.decode()
    brought = json.loads(page.split('<script id="words" type="application/json">')[1].split("</script>")[0])
    assert brought["just now"] == "gerade eben"


def test_every_state_has_its_word() -> None:
    english = {look.english for looks in LOOKS.values() for look in looks.values()}
    english |= {word for words in WORDS.values() for word in words.values()}
    catalog = told_catalog("de")
    assert not {word for word in english if word not in catalog}
    with override("de"):
        assert LOOKS["deployment"]["failed"].word == gettext("Failed") != "Failed"


# --- what the layers below say ----------------------------------------------------------------------------------------


def test_a_finished_message_is_found_again() -> None:
    message = "There is no server 'web-9' in this team."
    assert told(message) == message
    with override("de"):
        assert told(message) == "In diesem Team gibt es keinen Server 'web-9'."
        assert told("Choose at least one server.") == "Mindestens einen Server wählen."


def test_a_message_within_a_message_is_found_too() -> None:
    with override("de"):
        message = told("The channel's settings are not valid. This is not an e-mail address.")
    assert message == "Die Einstellungen des Kanals sind nicht gültig. Das ist keine E-Mail-Adresse."


def test_names_stay_whatever_they_are_called() -> None:
    with override("de"):
        assert told("Static site") != "Static site"
        message = told("Deployment of Static site to production failed", names=("Static site", "production"))
        whole = told("Deployment of Back to school to production failed", names=("production", "Back to school"))
    assert message == "Deployment von Static site nach production ist fehlgeschlagen"
    assert whole == "Deployment von Back to school nach production ist fehlgeschlagen"


@pytest.mark.parametrize(
    "text", ["", "Something that no catalog has", "%(1)s", "%s %(name)s {0}", "x" * 100_000, "There is no server"]
)
def test_what_is_in_no_catalog_stays_as_it_is(text: str) -> None:
    with override("de"):
        assert told(text) == text
