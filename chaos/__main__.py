"""`python -m chaos`: rounds of strikes against a panel, each looked at when it is over. Exit code 1: a violation."""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from chaos import report
from chaos.picture import Picture
from chaos.rounds import Plan, Result, play
from chaos.strikes import STRIKES
from chaos.world import World
from tests.support.docker_engine import Engine, ensure_engine
from tests.support.vps import Vps, sweep
from tests.support.vps_image import ensure_image


def main() -> int:
    asked = _arguments().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers and panel go with us
    results: list[dict[str, object]] = []
    if asked.rounds:
        print(f"seed {asked.seed}", flush=True)
        engine = ensure_engine()
        sweep(engine)
        results = run(engine, ensure_image(engine), asked)
    if asked.report:
        asked.report.write_text(report.render(report.read(asked.results) if asked.results else results))
    return 1 if any(result["violations"] for result in results) else 0


def run(engine: Engine, image: str, asked: argparse.Namespace) -> list[dict[str, object]]:
    """The rounds; after one that was violated the next has a new world, so that nothing is told twice."""
    results: list[dict[str, object]] = []
    with ExitStack() as stack:
        world: World | None = None
        for number in range(asked.first, asked.first + asked.rounds):
            plan = Plan(asked.seed, number, asked.only[number % len(asked.only)], asked.strikes)
            if world is None:
                world = stack.enter_context(World(engine, image))
            began = time.monotonic()
            try:
                result, picture = play(world, plan)
            except Exception as error:  # what cannot be looked at is not as it must be
                broken = f"the round broke off: {type(error).__name__} {error}"
                result, picture = Result.of(plan, violations=[broken]), Picture(plan.kind)
            results.append({**result.to_json(), "strikes_planned": asked.strikes, "only": ",".join(asked.only)})
            _tell(result, time.monotonic() - began)
            if asked.results:
                with asked.results.open("a") as file:
                    file.write(json.dumps(results[-1]) + "\n")
            if result.violations:
                print(f"  all of it: {keep(world, plan, result, picture)}", flush=True)
                stack.close()
                world = None
                if not asked.keep_going:
                    break
    return results


def keep(world: World, plan: Plan, result: Result, picture: Picture) -> Path:
    """Writes all that helps to understand the violations into a file."""
    name = plan.name.replace("/", "-")
    path = Path(tempfile.gettempdir()) / f"devflow-chaos-{name}-{secrets.token_hex(3)}.txt"
    servers = (f"== {name} ==\n{_everything(vps)}" for name, vps in world.servers.items())
    parts = ["\n".join(result.violations), picture.describe(), *servers, world.panel.output()]
    path.write_text("\n\n".join(parts))
    return path


def _everything(vps: Vps) -> str:
    try:
        return vps.inside(
            "ps -ef; find /srv/www /home/deploy/.devflow -maxdepth 4 | sort; cat /home/deploy/.devflow/runs/*/log"
        )
    except RuntimeError as error:
        return str(error)


def _tell(result: Result, took: float) -> None:
    ended = ", ".join(f"{number} {status}" for status, number in sorted(result.ended.items()))
    print(
        f"{result.number} {result.kind}: {result.strikes} strikes, {result.deployments} deployments ({ended}),"
        f" recovered in {result.recovery_seconds} s, {result.visits} visits, {len(result.violations)} violations,"
        f" {took:.0f} s",
        *(f"missed: {reason}" for reason in result.missed),
        *result.violations,
        sep="\n  ",
        flush=True,
    )


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bin/chaos", description="See CONTRIBUTING.md, Chaos.")
    parser.add_argument("--seed", default=secrets.token_hex(3), help="chooses strikes and wishes; told when not given")
    parser.add_argument("--rounds", type=int, default=len(STRIKES), help="0: only --report, of what --results has")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the number of the first round")
    parser.add_argument("--strikes", type=int, default=3, help="in each round, all of one kind")
    parser.add_argument("--only", type=_kinds, default=list(STRIKES), metavar="KIND,…", help=", ".join(STRIKES))
    parser.add_argument("--keep-going", action="store_true", help="also after a violation")
    parser.add_argument("--results", type=Path, metavar="FILE", help="add each round's result: one JSON object a line")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the page, of all that --results has")
    return parser


def _kinds(text: str) -> Sequence[str]:
    kinds = text.split(",")
    for kind in kinds:
        if kind not in STRIKES:
            raise argparse.ArgumentTypeError(f"no strike {kind!r}: choose of {', '.join(STRIKES)}")
    return kinds


if __name__ == "__main__":
    sys.exit(main())
