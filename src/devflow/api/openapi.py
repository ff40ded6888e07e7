"""The API's own description of itself: Ninja's, and what Ninja cannot know."""

from typing import Any, Final

from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from devflow.api.idempotency import HEADER
from devflow.api.schemas import Problem
from devflow.core.problems import CONTENT_TYPE

_PROBLEM: Final = {
    "description": "401 no token, 403 scope or role, 404 not yours or not there, 409 conflict, 422 invalid.",
    "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_KEY: Final = {
    "in": "header",
    "name": HEADER,
    "schema": {"type": "string", "maxLength": 200},
    "required": False,
    "description": "The same request with the same key takes effect once and is answered alike, for 24 hours.",
}
_LAST_EVENT: Final = {
    "in": "header",
    "name": "Last-Event-ID",
    "schema": {"type": "integer"},
    "required": False,
    "description": "The last event that was seen; `?after=` says the same.",
}
_EVENTS: Final[dict[str, Any]] = {
    "operationId": "deployment_events",
    "summary": "Deployment Events",
    "description": (
        "The deployment's events as they happen, as server-sent events: `deployment.started`, `deployment.step`, "
        "`deployment.log`, `deployment.status`, `deployment.completed`. 204 when it has ended and all was seen."
    ),
    "tags": ["deployments"],
    "parameters": [
        {"in": "path", "name": "deployment_id", "schema": {"type": "string"}, "required": True},
        _LAST_EVENT,
    ],
    "responses": {
        200: {"description": "OK", "content": {"text/event-stream": {}}},
        204: {"description": "All was seen"},
    },
}
_LOG_EVENTS: Final = {
    **_EVENTS,
    "operationId": "container_log_events",
    "summary": "Container Log Events",
    "description": (
        "A container's log that is followed, live, as server-sent events: `container.log` with whole lines, "
        "`container.log_ended` with the reason. It is followed as long as somebody is connected here."
    ),
    "tags": ["containers"],
    "parameters": [
        {"in": "path", "name": "follow_id", "schema": {"type": "string"}, "required": True},
        _LAST_EVENT,
    ],
}


class PanelAPI(NinjaAPI):
    """NinjaAPI with operations named after their functions, and a description that is complete."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        schema = super().get_openapi_schema(**options)
        schema["components"]["schemas"] |= _components()
        paths = schema["paths"]
        for end, events in (("deployments/{deployment_id}", _EVENTS), ("container-logs/{follow_id}", _LOG_EVENTS)):
            shown = next(path for path in paths if path.endswith(f"/{end}"))
            paths[f"{shown}/events"] = {"get": {**events, "security": paths[shown]["get"]["security"]}}
        for methods in paths.values():
            for method, operation in methods.items():
                operation["summary"] = _summary(operation)
                operation["responses"] = {**operation["responses"], "default": _PROBLEM}
                if method == "post":
                    operation["parameters"] = [*operation["parameters"], _KEY]
        return schema


def _summary(operation: dict[str, Any]) -> str:
    """The first sentence of the description; the name in plain words where there is none."""
    sentence: str = operation.get("description", "").partition(". ")[0].removesuffix(".")
    return sentence or operation["summary"].capitalize()


def _components() -> dict[str, Any]:
    """The schema of a problem, and those that it is made of."""
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**problem.pop("$defs"), "Problem": problem}
