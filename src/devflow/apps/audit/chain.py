"""The chain of events as a value: what is hashed, and whether a chain is whole. Also checks exported files, so it needs
neither Django nor the database.

A document is an event as it is exported: a mapping of FIELDS.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

PANEL: Final = "00000000-0000-0000-0000-000000000000"
"""Stands for the team in the panel's own chain."""
FIRST: Final = "0" * 64
"""What the first event of a chain has as the hash before it."""
STUB: Final = ("id", "chain", "at", "action", "outcome", "user_id", "token_id", "project_id", "target_id", "session")
WHO: Final = ("who", "token", "address", "user_agent")
WHAT: Final = ("target", "before", "after")
FIELDS: Final = (
    *STUB,
    *WHO,
    "who_salt",
    "who_digest",
    *WHAT,
    "what_salt",
    "what_digest",
    "seq",
    "previous",
    "hash",
)
ERASED: Final = "data.erased"
"""The action that tells of how many parts (who, what) of events something was erased: `after` is {"parts": …}."""
_SHOWN_PROBLEMS = 20


@dataclass(slots=True)
class Verdict:
    """What checking a chain found. `problems` is empty where it is whole."""

    events: int = 0
    last_seq: int = 0
    last_hash: str = FIRST
    erased: int = 0
    told_erased: int = 0
    problems: list[str] = field(default_factory=list)

    def note(self, problem: str) -> None:
        if len(self.problems) < _SHOWN_PROBLEMS:
            self.problems.append(problem)


def details_digest(document: Mapping[str, Any], names: tuple[str, ...], salt: str) -> str:
    """Of what can be erased. The salt goes with it, so that nobody can find out by trying what it was."""
    return hashlib.sha256(bytes.fromhex(salt) + _canonical({name: document[name] for name in names})).hexdigest()


def event_hash(document: Mapping[str, Any], *, is_foreign: bool = False) -> str:
    """Over all of an event that stays, its number, and the hash of the event before it.

    One that `is_foreign`, which the panel found in its table and has not recorded, takes its place in the chain with a
    hash that says so for ever.
    """
    names = (*STUB, "who_digest", "what_digest", "seq", "previous")
    foreign = {"foreign": True} if is_foreign else {}
    return hashlib.sha256(_canonical({name: document[name] for name in names} | foreign)).hexdigest()


def event_stamp(document: Mapping[str, Any], key: bytes) -> str:
    """What shows that an event was recorded by who has the key, before it has a place in the chain."""
    content = {name: document[name] for name in (*STUB, "who_digest", "what_digest")}
    return hmac.new(key, _canonical(content), hashlib.sha256).hexdigest()


def verify(documents: Iterable[Mapping[str, Any]]) -> Verdict:
    """Recomputes a whole chain, given in the order of its numbers from the first."""
    found = Verdict()
    for document in documents:
        _verify_one(found, document)
    if found.erased != found.told_erased:
        told = f"{found.erased} details are missing, and the chain tells of {found.told_erased} that were erased."
        found.note(f"{told} Something was erased without a trace.")
    return found


def _verify_one(found: Verdict, document: Mapping[str, Any]) -> None:
    missing = [name for name in FIELDS if name not in document]
    if missing:
        found.note(f"Event {document.get('id', '?')} lacks {', '.join(missing)}.")
        return
    seq = document["seq"]
    if seq != found.last_seq + 1:
        found.note(f"After event {found.last_seq} comes event {seq}: something was removed or moved.")
    if document["previous"] != found.last_hash:
        found.note(f"Event {seq} does not follow the event before it: that one was changed or replaced.")
    is_foreign = False
    if event_hash(document) != document["hash"]:
        is_foreign = event_hash(document, is_foreign=True) == document["hash"]
        foreign = f"Event {seq} was not recorded by the panel: somebody wrote it into the database."
        found.note(foreign if is_foreign else f"Event {seq} was changed: its hash is not that of its content.")
    _verify_details(found, document, "who", WHO)
    _verify_details(found, document, "what", WHAT)
    if document["action"] == ERASED and document["what_salt"] and not is_foreign:
        found.told_erased += int((document["after"] or {}).get("parts", 0))
    found.events += 1
    found.last_seq, found.last_hash = seq, document["hash"]


def _verify_details(found: Verdict, document: Mapping[str, Any], part: str, names: tuple[str, ...]) -> None:
    salt = document[f"{part}_salt"]
    if not salt:
        found.erased += 1
        if any(document[name] for name in names):
            found.note(f"Event {document['seq']} was changed: it has details that were erased.")
        return
    try:
        is_right = details_digest(document, names, salt) == document[f"{part}_digest"]
    except ValueError:
        is_right = False
    if not is_right:
        told = "who did it" if part == "who" else "what was done"
        found.note(f"Event {document['seq']} was changed: {told} is not what was recorded.")


def _canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
