"""Deployments: plan, deploy, promote, roll back, follow, list, show, log, cancel."""

import sys
from typing import Annotated, Any

import httpx
import typer

from devflow.cli.client import Client
from devflow.cli.errors import DONE, FAILED, INTERRUPTED, OF_DEPLOYMENT, WAITS
from devflow.cli.names import Deployment, Environment, Project
from devflow.cli.output import (
    Json,
    duration,
    log_line,
    log_text,
    moment,
    print_fields,
    print_json,
    print_table,
    shown,
    tell,
)

Commit = Annotated[
    str | None, typer.Option("--commit", metavar="SHA", help="Full commit id; else the branch's newest.")
]
Branch = Annotated[
    str | None, typer.Option("--branch", metavar="BRANCH", help="The newest commit of another branch, this once.")
]
Clean = Annotated[bool, typer.Option("--clean", help="Reuse no dependencies or built files of earlier releases.")]
Override = Annotated[
    str | None,
    typer.Option("--override", metavar="REASON", help="Do not wait for a window, and say why; admins only."),
]
NoFollow = Annotated[bool, typer.Option("--no-follow", help="Only queue it.")]

app = typer.Typer(help="Deployments: list, show, log, cancel.", no_args_is_help=True)


def plan(
    project: Project,
    environment: Environment,
    commit: Commit = None,
    full: Annotated[bool, typer.Option("--full", help="Also the shell text of the panel's own steps.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a deployment would do, without doing it."""
    query = {"commit": commit} if commit else {}
    document = Client().get("projects", project, "environments", environment, "plan", **query)
    if as_json:
        print_json(document)
        return
    facts = (
        "recipe",
        "strategy",
        "repository",
        "branch",
        "commit",
        "servers",
        "root",
        "keep",
        "variables",
        "shared_files",
        "shared_folders",
    )
    print_fields({name.replace("_", " "): document[name] for name in facts})
    for setting in document["settings"]:
        if setting["source"].startswith("devflow.yml"):
            print(f"{setting['name']} is from {setting['source']}: {shown(setting['value']) or '(nothing)'}")
    for warning in document["warnings"]:
        tell(shown(warning))
    for service in document["services"]:
        print(f"service {shown(service['name'])}: {service['treatment']} ({shown(service['reason'])})")
    for number, step in enumerate(document["steps"], 1):
        condition = f" (where {step['condition']})" if step["condition"] else ""
        print(f"\n{number:2}  {step['phase']}: {shown(step['name'])} on {', '.join(step['servers'])}{condition}")
        if step["reused_while"]:
            print(f"      reused while unchanged: {shown(step['reused_while'])}")
        command = step["command"] if full or not step["summary"] else step["summary"]
        print("\n".join(f"      {line}" for line in log_text(command, colours=False).splitlines()))


def deploy(
    project: Project,
    environment: Environment,
    commit: Commit = None,
    branch: Branch = None,
    clean: Clean = False,
    override: Override = None,
    no_follow: NoFollow = False,
    as_json: Json = False,
) -> None:
    """Deploy the branch's newest commit (or the one named, or another branch's newest) and follow it to its end.

    Outside the environment's windows it is told when it begins, and the command ends with status 5.
    """
    client = Client()
    body = {"commit": commit} | ({"clean": True} if clean else {})
    body |= {"branch": branch} if branch is not None else {}
    body |= {"override_reason": override} if override is not None else {}
    deployment = client.post("projects", project, "environments", environment, "deployments", body=body)
    _finish(client, deployment, no_follow=no_follow, as_json=as_json)


def promote(
    project: Project,
    source: Annotated[str, typer.Argument(metavar="FROM", help="The environment whose commit is taken.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The environment that it is deployed to.")],
    override: Override = None,
    no_follow: NoFollow = False,
    as_json: Json = False,
) -> None:
    """Deploy the commit that serves in one environment to another, and follow it to its end."""
    client = Client()
    body = {"source": source} | ({"override_reason": override} if override is not None else {})
    deployment = client.post("projects", project, "environments", target, "promote", body=body)
    _finish(client, deployment, no_follow=no_follow, as_json=as_json)


def rollback(
    project: Project,
    environment: Environment,
    to: Annotated[
        str | None, typer.Option(metavar="DEPLOYMENT", help="Whose release shall serve; else the one before.")
    ] = None,
    no_follow: NoFollow = False,
    as_json: Json = False,
) -> None:
    """Go back to a release that the servers keep, and follow it to its end."""
    client = Client()
    deployment = client.post("projects", project, "environments", environment, "rollback", body={"to": to})
    _finish(client, deployment, no_follow=no_follow, as_json=as_json)


@app.command("list")
def deployment_list(
    project: Annotated[str | None, typer.Argument(metavar="[PROJECT]")] = None,
    environment: Annotated[str | None, typer.Argument(metavar="[ENV]")] = None,
    status: Annotated[str | None, typer.Option(help="Only those with this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """The newest deployments: of the team, of a project, of an environment."""
    client, query = Client(), {"status": status} if status else {}
    if project and environment:
        found = client.items("projects", project, "environments", environment, "deployments", limit=limit, **query)
    else:
        found = client.items("deployments", limit=limit, **query, **({"project": project} if project else {}))
    if as_json:
        print_json(found)
        return
    columns = {
        "id": "ID",
        "target": "TARGET",
        "status": "STATUS",
        "trigger": "TRIGGER",
        "short": "COMMIT",
        "at": "CREATED",
        "took": "TOOK",
    }
    print_table([_row(each) for each in found], columns, empty="No deployment yet: `devflow deploy PROJECT ENV`.")


@app.command("show")
def deployment_show(deployment: Deployment, as_json: Json = False) -> None:
    """A deployment with its steps."""
    document = Client().get("deployments", deployment)
    if as_json:
        print_json(document)
        return
    facts = (
        "id",
        "project",
        "environment",
        "status",
        "waiting_reason",
        "override_reason",
        "error",
        "commit",
        "message",
        "author",
        "branch",
        "trigger",
        "requested_by",
        "release",
        "servers",
    )
    times = {name: moment(document[f"{name}_at"]) for name in ("created", "started", "finished")}
    times |= {"begins": document["due_there"]}
    print_fields(
        {name.replace("_", " "): document[name] for name in facts}
        | times
        | {"took": duration(document["duration_seconds"])}
    )
    rows = [{**step, "took": duration(step["duration_seconds"])} for step in document["steps"]]
    columns = {
        "phase": "PHASE",
        "name": "STEP",
        "server": "SERVER",
        "status": "STATUS",
        "took": "TOOK",
        "exit_code": "EXIT CODE",
    }
    print()
    ended = document["is_ended"]
    print_table(
        rows,
        columns,
        empty="It ended before there was a plan." if ended else "No steps yet: they are known when the plan is made.",
    )


@app.command("log")
def deployment_log(
    deployment: Deployment,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the deployment ends.")] = False,
    as_json: Json = False,
) -> None:
    """Print the log so far. In colours on a terminal, as plain text elsewhere."""
    client = Client()
    if follow:
        raise typer.Exit(_follow(client, client.get("deployments", deployment), as_json=as_json))
    if as_json:
        print_json({"id": deployment, "log": client.text("deployments", deployment, "log")})
        return
    colours, rest = sys.stdout.isatty(), ""
    try:
        with client.stream("deployments", deployment, "log") as response:
            for part in response.iter_text():
                *lines, rest = (rest + part).split("\n")
                sys.stdout.writelines(f"{log_line(line, colours=colours)}\n" for line in lines)
    except httpx.TransportError as error:
        raise client.unreachable(error) from None


@app.command("canary")
def deployment_canary(
    deployment: Deployment,
    action: Annotated[str | None, typer.Argument(metavar="[hold|resume|promote|abort]")] = None,
    as_json: Json = False,
) -> None:
    """Show how a canary does; hold it at its share, have it go on, give it everything now, or take it back."""
    client = Client()
    if action:
        document = client.post("deployments", deployment, "canary", body={"action": action})
        if as_json:
            print_json(document)
        else:
            print(f"The canary is told to {action}: `devflow deployments log -f {deployment}`.")
        return
    shares = client.get("deployments", deployment, "canary")
    if as_json:
        print_json(shares)
        return
    rows = [
        {**share, "state": _state(share), "new": _side(share["new"]), "stable": _side(share["stable"])}
        for share in shares
    ]
    columns = {"percent": "share (%)", "state": "state", "seconds": "for (s)", "new": "new", "stable": "stable"}
    print_table(rows, columns, empty="There are no figures: it is no canary, or has had no requests yet.")


def _state(share: dict[str, Any]) -> str:
    """With since when it is held, and until when at most."""
    state, since, until = str(share["state"]), share.get("held_since"), share.get("held_until")
    return f"{state} since {since}, until {until} at most" if state == "held" and since else state


def _side(side: dict[str, Any]) -> str:
    return f"{side['requests']} requests, {side['error_percent']:g} % failed, p95 {side['p95_ms']} ms"


@app.command("cancel")
def deployment_cancel(deployment: Deployment, as_json: Json = False) -> None:
    """End a deployment that waits; take one back that runs."""
    document = Client().post("deployments", deployment, "cancel")
    if as_json:
        print_json(document)
    else:
        print(
            "It is cancelled."
            if document["is_ended"]
            else f"It is being taken back: `devflow deployments log -f {deployment}`."
        )


def _finish(client: Client, deployment: dict[str, Any], *, no_follow: bool, as_json: bool) -> None:
    """One that waits is not followed: its log has nothing but what is told here."""
    waits = deployment["status"] == "waiting"
    if not no_follow and not waits:
        raise typer.Exit(_follow(client, deployment, as_json=as_json, ends_at_waiting=True))
    if as_json:
        print_json(deployment)
    else:
        print(f"{deployment['id']} is {deployment['status']}.")
        if waits:
            tell(_waits(deployment))
        tell(f"Follow it: devflow deployments log -f {deployment['id']}")
    raise typer.Exit(WAITS if waits else DONE)


def _follow(client: Client, deployment: dict[str, Any], *, as_json: bool, ends_at_waiting: bool = False) -> int:
    """Shows the deployment until it has ended, or until it waits for a window; returns the exit status."""
    from devflow.cli.events import follow
    from devflow.cli.progress import SilentProgress, progress

    deployment_id = deployment["id"]
    view = SilentProgress() if as_json else progress()
    try:
        with view:
            view.say(f"Deployment {deployment_id} of {deployment['project']} to {deployment['environment']}")
            are_steps_known = False
            for event in follow(client, deployment_id, is_away=view.say):
                if event.kind == "deployment.step" and not are_steps_known:
                    view.steps(client.get("deployments", deployment_id, "steps"))
                    are_steps_known = True
                view.show(event)
                says_waiting = event.kind == "deployment.status" and event.data["status"] == "waiting"
                if says_waiting and ends_at_waiting and client.get("deployments", deployment_id)["status"] == "waiting":
                    break
    except KeyboardInterrupt:
        tell(f"\nThe deployment goes on. Follow it: devflow deployments log -f {deployment_id}")
        tell(f"Stop it: devflow deployments cancel {deployment_id}")
        return INTERRUPTED
    ended = client.get("deployments", deployment_id)
    if as_json:
        print_json(ended)
    else:
        _tell_end(client, ended)
    return OF_DEPLOYMENT.get(ended["status"], FAILED)


def _tell_end(client: Client, ended: dict[str, Any]) -> None:
    took = f" in {duration(ended['duration_seconds'])}" if ended["duration_seconds"] is not None else ""
    status = ended["status"].replace("_", " ")
    commit = f", commit {_short(ended['commit'])}" if ended["commit"] else ""
    print(f"{status}{took}: {ended['project']} {ended['environment']}{commit}")
    if OF_DEPLOYMENT.get(ended["status"]) != DONE:
        told = "" if ended["status"] == "waiting" else shown(ended["error"])  # its log has told why it waits
        tell(f"{told}\n{client.url}/deployments/{ended['id']}".strip())


def _waits(deployment: dict[str, Any]) -> str:
    due = deployment["due_there"]
    begins = f"It begins on {due}." if due else "It waits until that is lifted."
    return f"{shown(deployment['waiting_reason'])}. {begins}"


def _row(deployment: dict[str, Any]) -> dict[str, Any]:
    return deployment | {
        "target": f"{deployment['project']} {deployment['environment']}",
        "short": _short(deployment["commit"]),
        "at": moment(deployment["created_at"]),
        "took": duration(deployment["duration_seconds"]),
    }


def _short(commit: str | None) -> str:
    return commit[:10] if commit else "-"
