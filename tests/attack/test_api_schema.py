"""The API against its own description: schemathesis makes the requests, as each role and with each scope.

Whatever is sent, nothing fails in the panel, every refusal is a problem (RFC 9457), and what is answered is what the
description says. Each request meets the same world: what it changed is taken back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.generation.stateful.state_machine import APIStateMachine
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance
from werkzeug import test as wsgi

from tests.attack.conftest import CALLERS, LONG, Caller
from tests.support.undone import undone
from tests.web.world import World

DESCRIPTION = "/api/v1/openapi.json"
REFUSALS = {400, 401, 403, 404, 405, 409, 413, 422, 429}
EXAMPLES, OF_THE_WEAK = (100, 10) if LONG else (5, 1)
SCENARIOS, STEPS = (150, 20) if LONG else (12, 8)
CHECKED = [content_type_conformance, response_schema_conformance]
HARD: Any = {
    "derandomize": not LONG,
    "database": None,
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
}
NASTY = st.sampled_from(
    [
        "\x00",
        "a\x00b",
        "../../etc/passwd",
        "' OR 1=1 --",
        '"><script>alert(1)</script>',
        "{{7*7}}",
        "${7*7}",
        "%0d%0aX-Evil: 1",
        "a\r\nX-Evil: 1",
        "-oProxyCommand=id",
        "\u202e\ufeff",
        "x" * 5000,
        str(10**400),
        "-1",
        "null",
        "NaN",
    ]
)


@pytest.fixture
def api(application: Any, world: World) -> Any:
    """The description, as the running panel gives it."""
    return schemathesis.openapi.from_wsgi(DESCRIPTION, application, headers={"Host": "testserver"})


@pytest.fixture
def known(
    world: World, api: Any, application: Any, headers: Callable[[Caller], dict[str, str]]
) -> dict[str, list[str]]:
    """Values that addresses may name, by the name that the description has for them; '' for any other."""
    ids = {
        "deployment": world.deployment.pk,
        "token": world.token.pk,
        "channel": world.channel.pk,
        "delivery": world.delivery.pk,
        "user": world.people["viewer"].pk,
    }
    known = {
        "slug": ["shop"],
        "name": ["production", "web-1"],
        "key": ["APP_KEY", "MAIL_HOST"],
        "": ["shop", "production", "web-1", "viewer@example.test", str(world.notification.pk)],
        **{name: [str(value)] for name, value in ids.items()},
        **{f"{name}_id": [str(value)] for name, value in ids.items()},
    }
    owner, sent = wsgi.Client(application), {**headers(CALLERS[-2]), "Host": "testserver"}
    for operation in _operations(api):
        if operation.method.upper() == "GET" and "{" not in operation.path:
            known[""] += _ids(owner.get(f"/api/v1{operation.path.removeprefix('/api/v1')}", headers=sent).get_data())
    return known


def _ids(document: bytes) -> list[str]:
    """What can be named of what a list holds."""
    found: set[str] = set()

    def note(pairs: list[tuple[str, Any]]) -> None:
        found.update(value for name, value in pairs if name in ("id", "email", "user", "name") and value is not None)

    try:
        json.loads(document, object_pairs_hook=note)
    except ValueError:
        return []
    return sorted(str(value) for value in found)[:10]


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
def test_no_request_makes_the_api_fail(
    api: Any, known: dict[str, list[str]], headers: Callable[[Caller], dict[str, str]], caller: Caller
) -> None:
    sent = headers(caller)
    examples = EXAMPLES if caller.scope == "admin" and caller.role != "outsider" else OF_THE_WEAK
    tried, found = 0, []
    for operation in _operations(api):
        try:
            tried += _attack(operation, known, sent, examples)
        except AssertionError as error:
            found.append(str(error).partition("\n")[0])
    print(f"{tried} requests as {caller.name}")
    assert not found, "\n".join(found)
    assert tried >= len(list(_operations(api)))


def _operations(api: Any) -> Iterator[Any]:
    for found in api.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        if not operation.path.endswith("/events"):  # answered beside Django: see test_streams.py
            yield operation


def _attack(operation: Any, known: dict[str, list[str]], sent: dict[str, str], examples: int) -> int:
    tried = 0

    @settings(max_examples=examples, phases=[Phase.generate], **HARD)
    @given(data=st.data())
    def attack(data: st.DataObject) -> None:
        nonlocal tried
        mode = data.draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
        try:
            case = data.draw(operation.as_strategy(mode))
        except Exception as error:
            if mode is GenerationMode.NEGATIVE and "negative" in str(error).lower():
                return  # there is nothing that could be wrong
            raise
        _aim(case, known, data)
        with undone():
            answer = case.call(headers={**sent, "Host": "testserver"})
        tried += 1
        judge(case, answer)

    attack()
    return tried


def _aim(case: Any, known: dict[str, list[str]], data: st.DataObject) -> None:
    """Has most addresses name what is there: behind a name that is not, there is little to attack."""
    for name in case.path_parameters or {}:
        if data.draw(st.integers(0, 5)) < 5:
            case.path_parameters[name] = data.draw(st.sampled_from(known.get(name) or known[""]))
    if isinstance(case.body, dict) and case.body and data.draw(st.booleans()):
        spoiled = dict(case.body)
        spoiled[data.draw(st.sampled_from(sorted(spoiled)))] = data.draw(NASTY)
        case.body = spoiled


def judge(case: Any, answer: Any) -> None:
    """What holds for every answer."""
    asked = f"{case.method} {case.formatted_path} {case.query} {case.body!r:.500}"
    told = f"{asked}: {answer.status_code} {answer.text:.800}"
    assert answer.status_code < 500, told
    assert "x-evil" not in {name.lower() for name in answer.headers}, told
    assert not re.search(r"Traceback|psycopg|SELECT .* FROM|/site-packages/", answer.text), told
    if answer.status_code >= 400:
        assert answer.status_code in REFUSALS, told
        assert answer.headers["content-type"] == ["application/problem+json"], told
        assert json.loads(answer.text).keys() >= {"type", "title", "status", "detail", "errors", "id"}, told
    else:
        assert str(answer.status_code) in case.operation.definition.raw["responses"], told
    case.validate_response(answer, checks=CHECKED)


@pytest.mark.parametrize("caller", [each for each in CALLERS if each.name in ("developer", "admin")])
def test_no_sequence_of_requests_makes_the_api_fail(
    api: Any, headers: Callable[[Caller], dict[str, str]], caller: Caller
) -> None:
    """What one answer tells is used in the next request."""
    sent = headers(caller)
    counted = [0]

    class Machine(api.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            self._undone = undone()
            self._undone.__enter__()

        def teardown(self) -> None:
            super().teardown()
            self._undone.__exit__(None, None, None)

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": {**sent, "Host": "testserver"}}

        def validate_response(self, response: Any, case: Any, **more: Any) -> None:
            counted[0] += 1
            judge(case, response)

    assert issubclass(Machine, APIStateMachine)
    Machine.run(settings=settings(max_examples=SCENARIOS, stateful_step_count=STEPS, phases=[Phase.generate], **HARD))
    print(f"{counted[0]} requests in sequence as {caller.name}")
    assert counted[0] > SCENARIOS
