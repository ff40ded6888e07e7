"""docs/reliability.md, drawn from results: JSON lines of one or many runs."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaos.strikes import MAY_FAIL, STRIKES

HEAD = """\
# Reliability

Written by `bin/chaos`, which strikes a running panel and its servers while people deploy, roll back, cancel and push,
and visitors look at the sites. [Contributing](../CONTRIBUTING.md#chaos) tells how; the [guide](guide/durability.md)
says what happens when something dies.

"""

WHAT = {
    "kill-worker": "`kill -9` of one of two workers",
    "kill-web": "`kill -9` of the web process",
    "kill-postgres": "`kill -9` of the embedded PostgreSQL",
    "kill-supervisor": "`kill -9` of `devflow up`, then started again",
    "freeze-worker": "a worker stopped for longer than its heartbeat, then let go on",
    "restart-sshd": "sshd restarted, with all its sessions",
    "cut-network": "`docker network disconnect` for up to 8 s",
    "drop-connections": "every other packet of ssh lost, for 2 to 8 s",
    "reboot": "a server without power, then started again",
    "fill-disk": "the disk of the sites, of the login's home, or both full, for up to 5 s",
}

FOOT = """
*Recovery*: from the end of a round's last strike until every deployment of the round had ended, those that had only
just been asked for as well. A deployment may fail only by {may_fail} of a server of its site, with an error that says
why, while the release before goes on serving; and a rollback by any, to a release that another deployment has pruned
since it was asked for.

After each round all of this is checked: every deployment has ended; never did two commands of a site overlap on a
server; each site shows exactly one whole release, the one that the panel says, that of the last success; no command of
a step ran twice or after its deployment's round, and each of a success ran; no lock, process, half-made release,
script, connection, transaction or job is left; every accepted webhook and request has its deployments, once; every log
has each line of the server's journal once, in order; no visitor got anything but a whole release, unless the server
itself was away; everybody who asked the panel got an answer.
"""


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def render(results: Sequence[dict[str, Any]]) -> str:
    """The page; of no results one that says so."""
    if not results:
        return f"{HEAD}No rounds are recorded here yet.\n"
    runs = sorted({_run(result) for result in results})
    broken = sum(bool(result["violations"]) for result in results)
    lines = [
        HEAD,
        f"{len(results)} rounds, {sum(result['strikes'] for result in results)} strikes that hit,"
        f" {sum(result['deployments'] for result in results)} deployments,"
        f" {sum(result['visits'] for result in results)} visits: **{_violations(results)} violations**"
        f"{f' in {broken} rounds' if broken else ''}.\n\n",
        "| strike | what | hits | deployments | success | failed | rolled back | cancelled | superseded"
        " | recovery, median | longest | violations |\n",
        "| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n",
        *(_row(kind, [each for each in results if each["kind"] == kind]) for kind in STRIKES),
        FOOT.format(may_fail=", ".join(f"*{kind}*" for kind in MAY_FAIL)),
        "\n## Again\n\nA seed makes the same strikes and the same wishes of the people, in the same order; when exactly"
        " each comes is up to the machine, so a round is never the very same.\n\n```sh\n",
        *(
            f"bin/chaos --seed {run[0]} --strikes {run[1]} --rounds {_rounds(results, run)}{_only(run[2])}\n"
            for run in runs
        ),
        "```\n",
        _broken(results),
    ]
    return "".join(lines)


def _row(kind: str, results: Sequence[dict[str, Any]]) -> str:
    if not results:
        return ""
    ended: Counter[str] = Counter()
    for result in results:
        ended.update(result["ended"])
    seconds = [result["recovery_seconds"] for result in results]
    cells = [
        kind,
        WHAT[kind],
        sum(result["strikes"] for result in results),
        sum(result["deployments"] for result in results),
        *(ended[status] for status in ("success", "failed", "rolled_back", "cancelled", "superseded")),
        f"{statistics.median(seconds):.1f} s",
        f"{max(seconds):.1f} s",
        _violations(results),
    ]
    return f"| {' | '.join(map(str, cells))} |\n"


def _violations(results: Sequence[dict[str, Any]]) -> int:
    return sum(len(result["violations"]) for result in results)


def _run(result: dict[str, Any]) -> tuple[str, int, str]:
    """What its run was called with: seed, strikes and kinds."""
    return result["seed"], result["strikes_planned"], result["only"]


def _rounds(results: Sequence[dict[str, Any]], run: tuple[str, int, str]) -> int:
    return max(result["number"] for result in results if _run(result) == run) + 1


def _only(kinds: str) -> str:
    return "" if kinds == ",".join(STRIKES) else f" --only {kinds}"


def _broken(results: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"- {result['seed']}/{result['number']}/{result['kind']}: {wrong}\n"
        for result in results
        for wrong in result["violations"]
    ]
    return "".join(["\n## Violations\n\n", *lines]) if lines else ""
