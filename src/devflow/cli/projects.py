"""Projects."""

from pathlib import Path
from typing import Annotated, Any

import typer

from devflow.cli.client import Client
from devflow.cli.errors import WRONG_USAGE, ClientError
from devflow.cli.names import STAYS, Project
from devflow.cli.output import Json, Yes, confirm, print_fields, print_json, print_table
from devflow.cli.secret_input import read_file

Recipe = Annotated[str | None, typer.Option(help="laravel, php, node, python, static; else detected from the files.")]
DeployKey = Annotated[
    Path | None, typer.Option("--deploy-key-file", help="Private SSH key for the repository; - for stdin.")
]
ReadsFile = Annotated[
    bool | None,
    typer.Option(
        "--read-file/--ignore-file", help="The commit's devflow.yml is in force before the settings of the panel."
    ),
]
Name = Annotated[str | None, typer.Option(help="Name that people see.")]

app = typer.Typer(help="Projects: a repository and how it is deployed.", no_args_is_help=True)


@app.command("add")
def project_add(
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="Short name, like my-shop.")],
    repository: Annotated[str, typer.Option(metavar="URL", help="https, ssh, or a path on the servers.")],
    recipe: Recipe = None,
    deploy_key_file: DeployKey = None,
    name: Name = None,
    reads_file: ReadsFile = None,
    as_json: Json = False,
) -> None:
    """Add a project."""
    project = Client().post(
        "projects",
        body={"slug": slug, "repository": repository, **_given(name, None, recipe, deploy_key_file, reads_file)},
    )
    if as_json:
        print_json(project)
        return
    print(f"{slug} is added.")
    if project["deploy_key_public"]:
        print(f"Give this key read access to the repository:\n\n  {project['deploy_key_public']}\n")


@app.command("list")
def project_list(as_json: Json = False) -> None:
    """The team's projects."""
    projects = Client().items("projects")
    if as_json:
        print_json(projects)
        return
    rows = [
        project | {"recipe": project["recipe"] or "(detected)", "targets": _environments(project)}
        for project in projects
    ]
    columns = {"slug": "SLUG", "recipe": "RECIPE", "repository": "REPOSITORY", "targets": "ENVIRONMENTS"}
    print_table(rows, columns, empty="No project yet: `devflow projects add SLUG --repository URL`.")


@app.command("show")
def project_show(slug: Project, as_json: Json = False) -> None:
    """A project."""
    _show(Client().get("projects", slug), as_json=as_json)


@app.command("update")
def project_update(
    slug: Project,
    repository: Annotated[str | None, typer.Option(metavar="URL", help="https, ssh, or a path on the servers.")] = None,
    recipe: Recipe = None,
    deploy_key_file: DeployKey = None,
    name: Name = None,
    reads_file: ReadsFile = None,
    as_json: Json = False,
) -> None:
    """Change what is given; --recipe '' has the framework detected again."""
    changes = _given(name, repository, recipe, deploy_key_file, reads_file)
    if not changes:
        raise ClientError("Nothing to change was given. See `devflow projects update --help`.", WRONG_USAGE)
    _show(Client().patch("projects", slug, body=changes), as_json=as_json)


@app.command("remove")
def project_remove(slug: Project, yes: Yes = False, as_json: Json = False) -> None:
    """Forget a project and its environments; what runs on the servers goes on running, and is served."""
    question = f"Remove {slug} with all its environments and deployments from the panel? {STAYS}"
    confirm(question, yes=yes or as_json)
    Client().delete("projects", slug)
    if as_json:
        print_json({"removed": slug})
    else:
        print(f"{slug} is removed from the panel. {STAYS}")


def _show(project: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(project)
        return
    print_fields(
        {
            "slug": project["slug"],
            "name": project["name"],
            "repository": project["repository"],
            "recipe": project["recipe"] or "(detected)",
            "reads devflow.yml": project["reads_file"],
            "deploy key": project["deploy_key_public"],
            "environments": _environments(project),
        }
    )


def _given(
    name: str | None,
    repository: str | None,
    recipe: str | None,
    deploy_key_file: Path | None,
    reads_file: bool | None,
) -> dict[str, Any]:
    given: dict[str, Any] = {"name": name, "repository": repository, "recipe": recipe, "reads_file": reads_file}
    given["deploy_key"] = read_file(deploy_key_file) if deploy_key_file else None
    return {field: value for field, value in given.items() if value is not None}


def _environments(project: dict[str, Any]) -> list[str]:
    return [environment["name"] for environment in project["environments"]]
