"""The proxy of an environment: nginx's site files on its servers."""

import time
from typing import Annotated, Any

import typer

from devflow.cli.client import Client
from devflow.cli.errors import FAILED, ClientError
from devflow.cli.names import Environment, Project
from devflow.cli.output import Json, print_json, print_table, tell

LOOK_SECONDS = 40

app = typer.Typer(help="nginx's site files of an environment.", no_args_is_help=True)


@app.command("show")
def proxy_show(project: Project, environment: Environment, as_json: Json = False) -> None:
    """The site file that a deployment would write."""
    found = Client().get(*_path(project, environment))
    if as_json:
        print_json(found)
        return
    print(found["text"] or "nginx is not kept by the panel here; see `devflow environments update --help`.")


@app.command("check")
def proxy_check(project: Project, environment: Environment, as_json: Json = False) -> None:
    """Read the site files on the servers: were they edited by hand? Does another file serve the same domains?"""
    client = Client()
    before = client.post(*_path(project, environment), "look")["at"]
    deadline = time.monotonic() + LOOK_SECONDS
    while (found := client.get(*_path(project, environment)))["at"] == before:
        if time.monotonic() > deadline:
            raise ClientError(f"The servers were not read within {LOOK_SECONDS} s. Is a worker running?", FAILED)
        time.sleep(0.5)
    _show(found, as_json=as_json)


@app.command("adopt")
def proxy_adopt(
    project: Project,
    environment: Environment,
    server: Annotated[str, typer.Option(metavar="NAME", help="The server whose file is taken over.")],
    file: Annotated[str, typer.Option(metavar="PATH", help="One there that is none of the panel's.")] = "",
    as_json: Json = False,
) -> None:
    """Take over a site file as the last check found it: it becomes the environment's own. Without --file, the one of
    the panel that was edited by hand."""
    found = Client().post(*_path(project, environment), "adopt", body={"server": server, "path": file})
    if as_json:
        print_json(found)
        return
    for each in next(each["foreign"] for each in found["servers"] if each["server"] == server):
        if each["path"] == file:
            for note in each["notes"]:
                print(note)
    taken = file or f"The site file of {server}"
    print(f"{taken} is the environment's own site file now; the next deployment writes it.")


@app.command("replace")
def proxy_replace(project: Project, environment: Environment, as_json: Json = False) -> None:
    """Let the next deployment replace what the last check found edited by hand."""
    found = Client().post(*_path(project, environment), "replace")
    if as_json:
        print_json(found)
    else:
        print("The next deployment replaces what was edited by hand.")


def _path(project: str, environment: str) -> tuple[str, ...]:
    return ("projects", project, "environments", environment, "proxy")


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for server in found["servers"]:
        if server["error"]:
            tell(f"{server['server']}: {server['error']}")
    words = {"absent": "not there yet", "ours": "as the panel wrote it", "edited": "edited by hand"}
    rows = [
        {"server": each["server"], "state": words[each["state"]] + (", to be replaced" if each["is_accepted"] else "")}
        for each in found["servers"]
        if each["state"]
    ]
    print_table(rows, {"server": "SERVER", "state": "SITE FILE"}, empty="No site file was read.")
    for server in found["servers"]:
        for file in server["foreign"]:
            _show_foreign(server["server"], file)


def _show_foreign(server: str, file: dict[str, Any]) -> None:
    if file["is_accepted"]:
        print(f"\n{server}: {file['path']} is adopted; the next deployment takes its place.")
        return
    print(f"\n{server}: {file['path']} serves this site, and the panel did not write it:\n{file['text'].rstrip()}")
    adopt = f"To make it the environment's own: devflow proxy adopt … --server {server} --file {file['path']}"
    tell(file["problem"] or adopt)
