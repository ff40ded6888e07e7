"""`Idempotency-Key`: a POST that is sent again with the same key gets the same answer and has no second effect."""

import hashlib
import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from pydantic_core import to_json

from devflow.api.auth import TOKEN_HEADER, ApiRequest
from devflow.apps.accounts.idempotency import answer_once

HEADER = "Idempotency-Key"


def once(view: Callable[..., Any]) -> Callable[..., Any]:
    """The operation, carried out once for each key of a token (of a user, in a session)."""

    @wraps(view)
    def answered(request: ApiRequest, *args: Any, **kwargs: Any) -> Any:
        key = request.headers.get(HEADER)
        if request.method != "POST" or key is None:
            return view(request, *args, **kwargs)
        answer = answer_once(
            actor=request.auth,
            subject=_digest(request.headers.get(TOKEN_HEADER) or str(request.auth.user.pk)),
            key=key,
            request=_digest(request.get_full_path(), request.body),
            work=lambda: to_json(view(request, *args, **kwargs)).decode(),
        )
        return json.loads(answer)

    return answered


def _digest(*parts: str | bytes) -> str:
    """SHA-256 in hexadecimal over the parts, each in its bounds."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
