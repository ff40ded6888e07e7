"""Access to a project's git provider: commit statuses, deployments and tags there."""

from pathlib import Path
from typing import Annotated, Any

import typer

from devflow.cli.client import Client
from devflow.cli.errors import FAILED, WRONG_USAGE, ClientError
from devflow.cli.names import Project
from devflow.cli.output import Json, print_fields, print_json
from devflow.cli.secret_input import read_file

app = typer.Typer(help="Access to git providers: they are told how deployments fare.", no_args_is_help=True)


@app.command("show")
def source_show(project: Project, as_json: Json = False) -> None:
    """What is set up, and what is taken from the repository's address. The token is never shown."""
    _show(Client().get("projects", project, "source"), as_json=as_json)


@app.command("set")
def source_set(
    project: Project,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the access token; - for stdin. An empty one: it is forgotten.")
    ] = None,
    api_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Base of the API, of self-hosted providers. '': guessed.")
    ] = None,
    repository: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name at the provider, like team/app. '': from the address.")
    ] = None,
    reports: Annotated[
        bool | None, typer.Option("--reports/--no-reports", help="Whether the provider is told of deployments.")
    ] = None,
    tag_format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="Tag of successful deployments, like deployed-{environment}-{number}."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Change what is given. Needs a token of the panel with the scope admin."""
    body: dict[str, Any] = {"api_url": api_url, "repository": repository, "reports": reports, "tag_format": tag_format}
    body = {name: value for name, value in body.items() if value is not None}
    if token_file is not None:
        body["access_token"] = read_file(token_file).strip()
    if not body:
        raise ClientError("Nothing to change was given. See `devflow sources set --help`.", WRONG_USAGE)
    _show(Client().patch("projects", project, "source", body=body), as_json=as_json)


@app.command("test")
def source_test(project: Project, as_json: Json = False) -> None:
    """Ask the provider for the repository, with the access token."""
    tested = Client().post("projects", project, "source", "test")
    if as_json:
        print_json(tested)
    elif tested["ok"]:
        print(f"The token opens {tested['repository']}.")
    if not tested["ok"]:
        raise ClientError(tested["error"], FAILED)


@app.command("webhook")
def source_webhook(project: Project, as_json: Json = False) -> None:
    """Have the webhook made at the provider. (`devflow sources show` tells what came of it.)"""
    source = Client().post("projects", project, "source", "webhook")
    if as_json:
        print_json(source)
    else:
        print(f"The webhook is being made: `devflow sources show {project}`.")


def _show(source: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(source)
        return
    print_fields(
        {
            "provider": source["provider"] or "not known: devflow webhooks set PROJECT PROVIDER",
            "api": source["api_url"],
            "repository": source["repository"],
            "access token": "set" if source["has_access_token"] else "none: nothing is told",
            "reports": source["reports"],
            "tags": source["tag_format"] or "none",
            "webhook": f"made, {source['hook_id']}" if source["hook_id"] else source["hook_problem"],
        }
    )
