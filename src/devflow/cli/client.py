"""The panel's API, as the commands use it."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import httpx

import devflow
from devflow.cli.credentials import Credentials, load
from devflow.cli.errors import FAILED, NOT_ALLOWED, NOT_REACHABLE, WRONG_USAGE, ClientError
from devflow.cli.output import tell

EXIT_STATUS: Final[dict[int, int]] = {
    HTTPStatus.UNAUTHORIZED: NOT_ALLOWED,
    HTTPStatus.FORBIDDEN: NOT_ALLOWED,
    HTTPStatus.BAD_REQUEST: WRONG_USAGE,
    HTTPStatus.UNPROCESSABLE_ENTITY: WRONG_USAGE,
    HTTPStatus.BAD_GATEWAY: NOT_REACHABLE,
    HTTPStatus.SERVICE_UNAVAILABLE: NOT_REACHABLE,
    HTTPStatus.GATEWAY_TIMEOUT: NOT_REACHABLE,
}
TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)
STREAM_TIMEOUT: Final = httpx.Timeout(45.0, connect=10.0)
"""The panel sends a sign of life every 15 seconds."""
RETRY_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
"""The pauses before a request is sent again, while the panel is being restarted for instance."""
LONGEST_WAIT_SECONDS: Final = 60
"""The panel counts by the minute."""
PAGE_LENGTH: Final = 200


class Client:
    """Requests with the stored (or given) credentials; refusals become ClientError with the exit status that fits."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        credentials = credentials or load()
        self.url = credentials.url
        self._was_reached = False
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1/",
            headers={"Authorization": f"Bearer {credentials.token}", "User-Agent": f"devflow/{devflow.__version__}"},
            timeout=TIMEOUT,
        )

    def get(self, *path: str, **query: Any) -> Any:
        return self._request("GET", path, params=query).json()

    def text(self, *path: str, **query: Any) -> str:
        return self._request("GET", path, params=query).text

    def items(self, *path: str, limit: int | None = None, **query: Any) -> list[Any]:
        """All items of a list, or the first `limit`, over as many pages as it takes."""
        found: list[Any] = []
        cursor = ""
        while limit is None or len(found) < limit:
            size = PAGE_LENGTH if limit is None else min(PAGE_LENGTH, limit - len(found))
            page = self.get(*path, limit=size, cursor=cursor, **query)
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                break
        return found

    def post(self, *path: str, body: Any = None) -> Any:
        """Takes effect once, also when the answer was lost and the request is sent again."""
        return self._request("POST", path, json=body, headers={"Idempotency-Key": str(uuid.uuid4())}).json()

    def patch(self, *path: str, body: Any) -> Any:
        return self._request("PATCH", path, json=body).json()

    def put(self, *path: str, body: Any) -> Any:
        return self._request("PUT", path, json=body).json()

    def delete(self, *path: str, **query: Any) -> Any:
        """What is answered; None where there is no answer."""
        response = self._request("DELETE", path, params=query)
        return response.json() if response.content else None

    @contextmanager
    def stream(self, *path: str, headers: dict[str, str] | None = None, **query: Any) -> Iterator[httpx.Response]:
        """An answer that is read as it comes. Raises httpx.TransportError where the connection breaks."""
        with self._http.stream("GET", _join(path), headers=headers, params=query, timeout=STREAM_TIMEOUT) as response:
            if response.is_error:
                response.read()
                raise _refusal(response)
            yield response

    def unreachable(self, error: httpx.TransportError) -> ClientError:
        reason = str(error) or type(error).__name__
        return ClientError(
            f"{self.url} cannot be reached ({reason}). Is the panel running, and the address right?", NOT_REACHABLE
        )

    def _send(self, method: str, path: tuple[str, ...], **options: Any) -> httpx.Response:
        """Sent once more where the panel was asked too often: what was refused for that has had no effect."""
        response = self._http.request(method, _join(path), **options)
        if _has_waited(response):
            response = self._http.request(method, _join(path), **options)
        return response

    def _request(self, method: str, path: tuple[str, ...], **options: Any) -> httpx.Response:
        """Sent again after a lost connection where that can do no harm; not where there was no panel from the first."""
        pauses = RETRY_SECONDS if method in ("GET", "POST") else ()
        for pause in (*pauses, None):
            try:
                response = self._send(method, path, **options)
            except UnicodeEncodeError:
                raise ClientError("What was given is not text in UTF-8.", WRONG_USAGE) from None
            except httpx.TransportError as error:
                is_hopeless = isinstance(error, httpx.ConnectError) and not self._was_reached
                if pause is None or is_hopeless:
                    raise self.unreachable(error) from None
            else:
                self._was_reached = True
                if response.is_success:
                    return response
                if pause is None or response.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                    raise _refusal(response)
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")


def _has_waited(response: httpx.Response) -> bool:
    """Waits as long as a panel that was asked too often says, if that is not for too long."""
    asked = response.headers.get("Retry-After", "")
    is_near = asked.isascii() and asked.isdecimal() and int(asked) <= LONGEST_WAIT_SECONDS
    if response.status_code != HTTPStatus.TOO_MANY_REQUESTS or not is_near:
        return False
    tell(f"The panel was asked too often; going on in {asked} s.")
    time.sleep(int(asked))
    return True


def _join(path: tuple[str, ...]) -> str:
    """Each part quoted, dots too: `..` would lead elsewhere."""
    return "/".join(quote(part, safe="").replace(".", "%2E") for part in path)


def _refusal(response: httpx.Response) -> ClientError:
    """The problem as one line: what is wrong, field by field where fields are named."""
    status = EXIT_STATUS.get(response.status_code, FAILED)
    try:
        problem = response.json()
        detail, errors = problem["detail"], problem["errors"]
    except (ValueError, KeyError, TypeError):
        return ClientError(
            f"{response.url.host} answered {response.status_code} {response.reason_phrase}; is this a panel's address?",
            status,
        )
    told = [f"{error['field']}: {error['message']}" for error in errors if error["message"] not in detail]
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        told.append(f"(id {problem['id']})")
    return ClientError(" ".join([detail, *told]), status)
