"""Error pages as Django makes them: each kind of error in each kind of place, in this process."""

from __future__ import annotations

import json
import logging
import re

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.template import engines
from django.test import Client, override_settings
from django.urls import include, path

from devflow.core.error_id import current_id, identified
from devflow.core.errors import TooManyError
from devflow.settings.log import JsonFormatter
from devflow.settings.sentry import cleaned
from devflow.web import errors
from devflow.web.context import frame

handler400, handler403, handler404 = errors.bad_request, errors.forbidden, errors.not_found
handler500 = errors.server_error
SECRET = "hunter2-in-a-message"


def raising(error: Exception) -> object:
    def view(request: HttpRequest) -> HttpResponse:
        raise error

    return view


def bad_template(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string("{% load panel %}{% asset 'nothing.js' %}").render({}, request))


def refuses_all(get_response: object) -> object:
    def middleware(request: HttpRequest) -> HttpResponse:
        if request.headers.get("X-Refuse") == "too many":
            raise TooManyError(7.2)
        if request.headers.get("X-Refuse") == "forbidden":
            raise PermissionDenied("Not from this address.")
        return get_response(request)  # type: ignore[operator]

    return middleware


RAISED = {
    "fault": (RuntimeError(SECRET), 500, "Something went wrong"),
    "away": (OperationalError(SECRET), 503, "cannot be reached"),
    "too-many": (TooManyError(3), 429, "Try again in 3 s"),
    "forbidden": (PermissionDenied("Ask an owner."), 403, "Ask an owner."),
    "nothing": (Http404("x"), 404, "nothing at "),
    "strange": (SuspiciousOperation(SECRET), 400, "could not be read"),
}
urlpatterns = [
    *(path(f"{prefix}{name}", raising(raised[0])) for name, raised in RAISED.items() for prefix in ("at/", "api/at/")),
    path("at/template", bad_template),
    path("", include("devflow.urls")),
]


@pytest.fixture
def client(db: None) -> Client:
    with override_settings(ROOT_URLCONF=__name__):
        yield Client(raise_request_exception=False)


@pytest.mark.parametrize("name", RAISED)
def test_pages(client: Client, name: str) -> None:
    _, status, text = RAISED[name]
    answer = client.get(f"/at/{name}")
    page = answer.content.decode()
    assert (answer.status_code, answer["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert text in page
    assert "DevFlow" in page
    assert SECRET not in page
    assert bool(re.search(r"<code>[0-9a-f]{12}</code>", page)) == (status in (500, 503))


@pytest.mark.parametrize("name", RAISED)
def test_addresses_of_the_api(client: Client, name: str) -> None:
    _, status, text = RAISED[name]
    answer = client.get(f"/api/at/{name}")
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    document = answer.json()
    assert (document["status"], len(document["id"])) == (status, 12)
    assert text in document["detail"]
    assert SECRET not in answer.content.decode()


@pytest.mark.parametrize(("name", "header"), [("too-many", "3"), ("away", "5")])
def test_when_to_come_again(client: Client, name: str, header: str) -> None:
    assert client.get(f"/at/{name}")["Retry-After"] == client.get(f"/api/at/{name}")["Retry-After"] == header


def test_the_id_of_the_page_is_that_of_the_log(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setFormatter(JsonFormatter())
    page = client.get("/at/fault").content.decode()
    entry = next(json.loads(line) for line in caplog.text.splitlines() if "RuntimeError" in line)
    assert entry["id"] == re.search(r"<code>(\w+)</code>", page)[1]
    assert "Traceback" in entry["exception"]
    assert current_id() == "", "it ends with the request"


def test_a_template_that_fails(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    answer = client.get("/at/template")
    assert (answer.status_code, "nothing.js" in answer.content.decode()) == (500, False)
    assert "nothing.js" in caplog.text


def test_a_page_of_errors_that_fails_itself(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Styles that were never built: then without them."""
    monkeypatch.setattr("devflow.web.assets.asset_url", lambda name: 1 / 0)
    monkeypatch.setattr("devflow.web.templatetags.panel.asset_url", lambda name: 1 / 0)
    answer = client.get("/at/fault")
    assert answer.status_code == 500
    assert re.search(r"<h1>Internal Server Error</h1><p>Error [0-9a-f]{12}", answer.content.decode())


def test_a_page_of_errors_whose_frame_fails(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What all pages know comes from the database: the pages of 403 and 404 need it, that of 500 does not."""
    monkeypatch.setattr(f"{frame.__module__}._actor", lambda request: 1 / 0)
    for name in ("fault", "nothing", "forbidden"):
        answer = client.get(f"/at/{name}")
        assert (answer.status_code, "Something went wrong" in answer.content.decode()) == (500, True), name


@override_settings(MIDDLEWARE=["devflow.web.errors.ErrorPages", f"{__name__}.refuses_all"])
def test_in_a_middleware(client: Client) -> None:
    too_many = client.get("/api/v1/servers", headers={"X-Refuse": "too many"})
    assert (too_many.status_code, too_many["Retry-After"], too_many.json()["status"]) == (429, "8", 429)
    refused = client.get("/api/v1/servers", headers={"X-Refuse": "forbidden"})
    assert (refused.status_code, refused.json()["detail"]) == (403, "Not from this address.")


def test_a_part_of_a_page_is_not_replaced_by_an_error(client: Client) -> None:
    polled = client.get("/at/fault", headers={"HX-Request": "true"})
    done = client.post("/at/fault", headers={"HX-Request": "true"})
    assert (polled["HX-Reswap"], done["HX-Retarget"]) == ("none", "body")
    assert "HX-Reswap" not in client.get("/at/fault")


def test_another_host_is_told_what_to_set(client: Client) -> None:
    page = client.get("/", headers={"Host": "evil.example"})
    assert (page.status_code, "DEVFLOW_URL" in page.content.decode()) == (400, True)
    problem = client.get("/api/v1/servers", headers={"Host": "evil.example"})
    assert (problem.status_code, problem["Content-Type"]) == (400, "application/problem+json")


def test_a_form_from_elsewhere(db: None) -> None:
    answer = Client(enforce_csrf_checks=True).post("/accounts/login/", {"login": "a@example.test", "password": "x"})
    assert (answer.status_code, "open for too long" in answer.content.decode()) == (403, True)


def test_what_is_sent_to_sentry_is_cleaned() -> None:
    with identified() as error_id:
        event = cleaned(
            {
                "event_id": "1",
                "level": "error",
                "request": {"headers": {"Cookie": SECRET}, "data": SECRET},
                "user": {"ip_address": SECRET},
                "extra": {"sys.argv": [SECRET]},
                "contexts": {"x": {"y": SECRET}},
                "breadcrumbs": {"values": [{"message": SECRET}]},
                "logentry": {"message": "%s failed", "params": [SECRET], "formatted": f"password={SECRET} failed"},
                "exception": {
                    "values": [
                        {
                            "type": "IntegrityError",
                            "value": f"duplicate key\nDETAIL:  Key (token)=({SECRET}) already exists.",
                            "stacktrace": {"frames": [{"function": "f", "vars": {"password": SECRET}}]},
                        },
                        {"type": "OperationalError", "value": f"postgresql://u:{SECRET}@db/x", "stacktrace": None},
                    ]
                },
            }
        )
    assert SECRET not in json.dumps(event)
    assert event["tags"] == {"error_id": error_id}
    assert event["logentry"] == {"message": "password=*** failed"}
    assert [thrown["value"] for thrown in event["exception"]["values"]] == ["duplicate key", "postgresql://u:***@db/x"]


def test_lines_of_the_log_have_the_id_of_what_is_done() -> None:
    record = logging.LogRecord("devflow.x", logging.INFO, __file__, 1, "x", (), None)
    with identified() as error_id:
        assert json.loads(JsonFormatter().format(record))["id"] == error_id
    assert "id" not in json.loads(JsonFormatter().format(record))
