"""What must hold after every round, whatever was struck. Each is a function from a picture to what is wrong in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator

from chaos.load import torn
from chaos.picture import Deployed, Machine, Picture
from chaos.world import HOOKED, LINES, SITES
from tests.support.hooked_site import ENDED

WORKERS = 2
CHILDREN = ("postgres", "devflow.worker", "devflow.server")
MARK = "chaos "


def all_ended(picture: Picture) -> Iterator[str]:
    """Each deployment has ended, is held by nobody, and says why where it was no success; it fails only where a server
    of its site was struck."""
    kept = {each.site: each.releases for each in picture.kept}
    for each in picture.deployments:
        if each.status not in ENDED:
            yield f"{each.id} of {each.site} is {each.status}"
            continue
        if each.is_claimed or not each.is_finished:
            yield f"{each.id} of {each.site} is {each.status}, but claimed or without an end"
        if bool(each.error) == (each.status == "success"):
            yield f"{each.id} of {each.site} is {each.status}, its error is {each.error!r}"
        if "fault of its own" in each.error:
            yield f"{each.id} of {each.site}: {each.error}"
        is_excused = picture.struck.intersection(SITES[each.site]) or _is_pruned(each, kept.get(each.site, ()))
        if each.status in ("failed", "rolled_back") and not is_excused:
            yield f"{each.id} of {each.site} is {each.status} after {picture.kind}: {each.error}"
        running = [step.name for step in each.steps if step.status in ("pending", "running")]
        if running:
            yield f"{each.id} of {each.site} has ended, but not its steps {running}"


def one_at_a_time(picture: Picture) -> Iterator[str]:
    """On a server, at most one command of a site at a time."""
    for machine in picture.machines:
        yield from (f"at the same time as another on {machine.name}: {line}" for line in machine.overlaps)


def one_whole_release(picture: Picture) -> Iterator[str]:
    """Every server of a site shows one whole release: the one that the panel says, that of the last success, with the
    text of its commit."""
    said = {kept.site: kept.current for kept in picture.kept}
    for kept in picture.kept:
        if kept.current != kept.last:
            yield f"{kept.site} serves {kept.current!r}, but the last success was {kept.last!r}"
    for place in picture.places:
        where = f"{place.site} on {place.server}"
        if place.problem:
            yield f"{where} does not answer: {place.problem}"
            continue
        if problem := torn(place.shown):
            yield f"{where}: {problem}"
        release = place.shown["release"]
        if not release == place.current == said[place.site]:
            yield f"{where} shows {release}, current is {place.current}, the panel says {said[place.site]!r}"
        token = picture.tokens.get(picture.commits.get(release, ""))
        if place.shown["parts"][0] != token:
            yield f"{where} shows {place.shown['parts'][0]}, but the commit of {release} has {token}"


def nothing_twice(picture: Picture) -> Iterator[str]:
    """No command of a step ran twice, nor any of a deployment that had ended before; of one that succeeded, each
    ran."""
    ours = {_hex(each.id) for each in picture.deployments}
    for machine in picture.machines:
        ran = _ran(machine)
        yield from (
            f"ran on {machine.name}: {phase} of {deployment}, which is no deployment of this round"
            for deployment, phase in ran
            if deployment not in ours
        )
        yield from (
            f"ran {times} times on {machine.name}: {phase} of {deployment}"
            for (deployment, phase), times in ran.items()
            if times > 1
        )
        for each in picture.deployments:
            if each.status != "success":
                continue
            for step in each.steps:
                is_ours = step.server == machine.name and step.name.endswith("command 1") and step.status == "success"
                if is_ours and step.phase != "undo" and not ran[_hex(each.id), step.phase]:
                    yield f"did not run on {machine.name}: {step.name} of {each.id}, a success"


def nothing_left_on_servers(picture: Picture) -> Iterator[str]:
    """No lock, process, half-made release, script or link in the making.

    A release that served, and could not be taken back from a full disk, the second deployment after it removes."""
    kept = {each.site: each for each in picture.kept}
    activated = {
        (each.name, line.split()[-1]) for each in picture.machines for line in each.ran if line[:9] == "activate "
    }
    for place in picture.places:
        where = f"{place.site} on {place.server}"
        if place.lock:
            yield f"{where} is locked: {place.lock}"
        yield from (f"{where} has {name}" for name in place.litter)
        successes = kept[place.site].releases
        yield from (
            f"{where} has the release {name}, which the panel does not know"
            for name in sorted(set(place.releases) - set(successes))
            if name not in place.unfinished
            or (place.server, name) not in activated
            or sum(success > name for success in successes) > 1
        )
    for machine in picture.machines:
        yield from (f"{machine.name} runs {line}" for line in machine.processes)
        yield from (f"{machine.name} has {name}" for name in machine.litter)


def nothing_left_in_panel(picture: Picture) -> Iterator[str]:
    """No job, session, transaction, connection or process that nobody needs any more."""
    inside = picture.inside
    yield from (f"a job is left: {job}" for job in inside.jobs)
    yield from (f"a transaction is open: {each}" for each in inside.transactions)
    yield from (f"a lock is held: {each}" for each in inside.locks)
    if inside.workers != WORKERS:
        yield f"the queue knows {inside.workers} workers, not {WORKERS}"
    odd = [line for line in inside.children if not any(name in line for name in CHILDREN)]
    if odd or len(inside.children) != len(CHILDREN):
        yield f"the supervisor has the children {list(inside.children)}"
    yield from (f"{number} connections of {name}" for name, number in inside.connections.items() if number > 1)


def every_webhook(picture: Picture) -> Iterator[str]:
    """What was accepted is kept once, and has a deployment of each site that follows it; so has what was asked for."""
    by_key: dict[str, list[str]] = {}
    for row in picture.deliveries:
        by_key.setdefault(row.key, []).append(row.id)
        if len(row.deployments) != len(HOOKED):
            yield f"the delivery {row.key} has {len(row.deployments)} deployments, not {len(HOOKED)}"
        yield from (
            f"the delivery {row.key} names {each}, which is nowhere"
            for each in row.deployments
            if each not in picture.known
        )
    made = Counter(each.delivery for each in picture.deployments if each.delivery)
    for row in picture.deliveries:
        if made[row.id] != len(row.deployments):
            yield f"the delivery {row.key} made {made[row.id]} deployments and names {len(row.deployments)}"
    for asked in picture.asked:
        if asked.what == "push" and len(by_key.get(asked.key, [])) != 1:
            yield f"the accepted delivery {asked.key} is kept {len(by_key.get(asked.key, []))} times"
        yield from (
            f"{asked.what} {asked.key} was promised {each}, which is nowhere"
            for each in asked.deployments
            if each not in picture.known
        )
    by_hand = [each for each in picture.deployments if not each.delivery]
    if len(by_hand) > len(picture.sent):
        yield f"{len(picture.sent)} requests made {len(by_hand)} deployments"


def every_line(picture: Picture) -> Iterator[str]:
    """Events and lines have no gap, and what the servers' journals have is in the log: each line once, in order."""
    journals: dict[str, list[str]] = {}
    for machine in picture.machines:
        for line in machine.journal:
            journals.setdefault(_run_of(line), []).append(line)
    for each in picture.deployments:
        yield from _rows(each)
        told: dict[str, list[str]] = {}
        for line in each.log.splitlines():
            if line.startswith(MARK):
                told.setdefault(_run_of(line), []).append(line)
        for run in {*told, *(run for run in journals if run.startswith(_hex(each.id)))}:
            written, read = journals.get(run, []), told.get(run, [])
            if read != written[: len(read)]:
                yield f"the log of {each.id} has other lines of {run} than its journal: {_differ(read, written)}"
            elif len(read) < len(written):
                yield f"the log of {each.id} ({each.status}) has {len(read)} of {len(written)} lines of {run}"
        if each.status == "success":
            yield from _numbers(each, told)


def every_visit(picture: Picture) -> Iterator[str]:
    """Each visitor got a whole release, but for those of a server that was away."""
    yield from picture.visits


def every_wish(picture: Picture) -> Iterator[str]:
    """Who asked the panel got a lawful answer, if late."""
    yield from picture.complaints


INVARIANTS: dict[str, Callable[[Picture], Iterator[str]]] = {
    "every deployment has ended, as it must": all_ended,
    "one at a time": one_at_a_time,
    "one whole release, the one that the panel says": one_whole_release,
    "nothing ran twice": nothing_twice,
    "nothing is left on servers": nothing_left_on_servers,
    "nothing is left in the panel": nothing_left_in_panel,
    "every webhook is accounted for": every_webhook,
    "every log is complete and in order": every_line,
    "every visitor got a whole release": every_visit,
    "everybody got an answer": every_wish,
}


def violations(picture: Picture) -> list[str]:
    """All that is wrong, each with the invariant that it breaks; [] is what is wanted."""
    return [f"{name}: {wrong}" for name, check in INVARIANTS.items() for wrong in check(picture)]


def _is_pruned(each: Deployed, kept: Collection[str]) -> bool:
    """A rollback to a release that a deployment before it has removed in the meantime, as the panel knows."""
    return each.trigger == "rollback" and "is not on" in each.error and each.release not in kept


def _ran(machine: Machine) -> Counter[tuple[str, str]]:
    """How often the command of each phase ran, by deployment and phase."""
    notes = (line.split() for line in machine.ran)
    return Counter((run.partition("-")[0], phase) for phase, run, _ in notes)


def _rows(each: Deployed) -> Iterator[str]:
    if [seq for seq, _ in each.events] != list(range(1, each.last_seq + 1)):
        yield f"the events of {each.id} are not numbered from 1 to {each.last_seq}"
    kinds = [kind for _, kind in each.events]
    was_at_once = each.status == "superseded" and not kinds  # several pushes came together: it never was in the queue
    if (
        each.status in ENDED
        and not was_at_once
        and (kinds.count("deployment.completed") != 1 or kinds[-1] != "deployment.completed")
    ):
        yield f"the events of {each.id} do not end with its end: {kinds[-3:]}"
    if (each.log.count("\n"), len(each.log.encode())) != (each.log_lines, each.log_bytes):
        yield f"the log of {each.id} has {len(each.log.encode())} bytes, its row says {each.log_bytes}"


def _numbers(each: Deployed, told: dict[str, list[str]]) -> Iterator[str]:
    """Of each command that ran, lines 1 to LINES."""
    for run, lines in told.items():
        numbers: dict[str, list[str]] = {}
        for line in lines:
            _, _, phase, folder, number = line.split()
            numbers.setdefault(f"{phase} {folder}", []).append(number)
        for what, found in numbers.items():
            if found != [f"{number}/{LINES}" for number in range(1, LINES + 1)]:
                yield f"the log of {each.id} has of {what} in {run}: {found}"
    servers = {step.server for step in each.steps if step.name.endswith("command 1")}
    if len(told) != len(servers):
        yield f"the log of {each.id} has lines of {len(told)} runs; it has {len(servers)} servers"


def _differ(read: list[str], written: list[str]) -> str:
    for number, line in enumerate(read):
        if number >= len(written) or line != written[number]:
            return f"line {number + 1} is {line!r}, not {written[number : number + 1]}"
    return ""


def _run_of(line: str) -> str:
    """Of a numbered line: the run that printed it."""
    return line.split()[1]


def _hex(deployment: str) -> str:
    return deployment.replace("-", "")
