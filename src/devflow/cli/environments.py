"""Environments of a project."""

from typing import Annotated, Any

import typer

from devflow.cli.client import Client
from devflow.cli.errors import WRONG_USAGE, ClientError
from devflow.cli.hooks import parse_hooks
from devflow.cli.names import STAYS, Environment, Project
from devflow.cli.options import with_those_set
from devflow.cli.output import Json, Yes, confirm, moment, print_fields, print_json, print_table

Servers = Annotated[
    list[str], typer.Option("--server", metavar="NAME", help="A server that it is deployed to; may be repeated.")
]
Root = Annotated[str | None, typer.Option(metavar="PATH", help="Folder of the site; /srv/PROJECT-ENV.")]
Strategy = Annotated[str | None, typer.Option(help="How the release goes live: atomic, blue-green, ….")]
Keep = Annotated[int | None, typer.Option(help="How many releases the servers keep; 5.")]
AutoDeploy = Annotated[
    bool | None,
    typer.Option(
        "--auto-deploy/--no-auto-deploy",
        help="Deployed by itself when the branch is pushed to; see `devflow webhooks`.",
    ),
]
WatchPaths = Annotated[
    list[str] | None,
    typer.Option(
        "--watch-path",
        metavar="PATTERN",
        help="A push deploys only where it changes a path like this, as apps/shop/**; may be repeated. '': any.",
    ),
]
TagPattern = Annotated[
    str | None, typer.Option(metavar="PATTERN", help="Pushed tags that match are deployed, as v*. '': none.")
]
HealthUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Checked after the switch: an address, or a path on the server. '': none."),
]
HealthStatus = Annotated[int | None, typer.Option(help="Expected status; 200.")]
HealthText = Annotated[str | None, typer.Option(help="Text that the answer must contain.")]
HealthTimeout = Annotated[int | None, typer.Option(metavar="SECONDS", help="How long an answer may take; 10.")]
HealthRetries = Annotated[int | None, typer.Option(help="How often it is tried again, a second apart; 5.")]
SharedFiles = Annotated[
    list[str] | None,
    typer.Option("--shared-file", metavar="PATH", help="A file that all releases share; may be repeated."),
]
SharedFolders = Annotated[
    list[str] | None,
    typer.Option("--shared-folder", metavar="PATH", help="A folder that all releases share; may be repeated."),
]
TaskCommands = Annotated[
    list[str] | None,
    typer.Option("--task", metavar="TASK=COMMAND", help="Own command for a task of the recipe; '' switches it off."),
]
PhaseCommands = Annotated[
    list[str] | None,
    typer.Option("--command", metavar="PHASE=COMMAND", help="Own command at the end of a phase; may be repeated."),
]
Hooks = Annotated[
    list[str] | None,
    typer.Option(
        "--hook",
        metavar="WHEN:PLACE=COMMAND",
        help="Own command before or after a phase or step, like before:activate=./warm.sh; PLACE@first: "
        "on the first server alone. May be repeated; '' takes all away.",
    ),
]
RecipeOptions = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Option of the recipe, like php_version=8.3; may be repeated."),
]
StrategyOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--strategy-option",
        metavar="NAME=VALUE",
        help="Option of the strategy, like drain_seconds=60; may be repeated.",
    ),
]
Proxy = Annotated[str | None, typer.Option(help="What serves the domains on the servers: nginx. '': nothing of ours.")]
Domains = Annotated[
    list[str] | None, typer.Option("--domain", metavar="NAME", help="A host name that is served; may be repeated.")
]
UploadMb = Annotated[int | None, typer.Option(help="How large a request may be, in MB; 64.")]
ProxyTemplate = Annotated[
    typer.FileText | None,
    typer.Option(metavar="FILE", help="An own site file for nginx; @upstream@ stands for where the release listens."),
]
Port = Annotated[int | None, typer.Option(help="The first of two local ports; chosen by itself.")]
Balancer = Annotated[str | None, typer.Option(metavar="NAME", help="The server that balances the load. '': none.")]
Builder = Annotated[str | None, typer.Option(metavar="NAME", help="The server that builds images. '': the first.")]

app = typer.Typer(help="Environments: where and how a project is deployed.", no_args_is_help=True)


@app.command("add")
def environment_add(
    project: Project,
    environment: Environment,
    branch: Annotated[str, typer.Option(help="Branch that is deployed.")],
    server: Servers,
    root: Root = None,
    strategy: Strategy = None,
    health_url: HealthUrl = None,
    health_status: HealthStatus = None,
    health_text: HealthText = None,
    health_timeout: HealthTimeout = None,
    health_retries: HealthRetries = None,
    keep: Keep = None,
    auto_deploy: AutoDeploy = None,
    watch_path: WatchPaths = None,
    tag_pattern: TagPattern = None,
    shared_file: SharedFiles = None,
    shared_folder: SharedFolders = None,
    task: TaskCommands = None,
    command: PhaseCommands = None,
    hook: Hooks = None,
    option: RecipeOptions = None,
    strategy_option: StrategyOptions = None,
    proxy: Proxy = None,
    domain: Domains = None,
    upload_mb: UploadMb = None,
    proxy_template: ProxyTemplate = None,
    port: Port = None,
    balancer: Balancer = None,
    builder: Builder = None,
    more_servers: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    as_json: Json = False,
) -> None:
    """Add an environment. (--server takes several names in a row, too.)"""
    body = {"name": environment} | _settings(
        branch=branch,
        servers=[*server, *(more_servers or [])],
        root=root,
        strategy=strategy,
        health_url=health_url,
        health_status=health_status,
        health_text=health_text,
        health_timeout_seconds=health_timeout,
        health_retries=health_retries,
        keep=keep,
        auto_deploy=auto_deploy,
        watch_paths=watch_path,
        tag_pattern=tag_pattern,
        shared_files=shared_file,
        shared_folders=shared_folder,
        task_commands=_task_commands(task),
        phase_commands=_phase_commands(command),
        hooks=parse_hooks(hook),
        recipe_options=_options(option),
        strategy_options=_options(strategy_option),
        proxy=proxy,
        domains=domain,
        upload_mb=upload_mb,
        proxy_template=proxy_template.read() if proxy_template else None,
        port=port,
        balancer=balancer,
        builder=builder,
    )
    added = Client().post("projects", project, "environments", body=body)
    if as_json:
        print_json(added)
    else:
        print(f"{project} {environment} is added. Look first, then deploy: devflow plan {project} {environment}")


@app.command("update")
def environment_update(
    project: Project,
    environment: Environment,
    branch: Annotated[str | None, typer.Option(help="Branch that is deployed.")] = None,
    server: Annotated[
        list[str] | None, typer.Option("--server", metavar="NAME", help="The servers from now on.")
    ] = None,
    root: Root = None,
    strategy: Strategy = None,
    health_url: HealthUrl = None,
    health_status: HealthStatus = None,
    health_text: HealthText = None,
    health_timeout: HealthTimeout = None,
    health_retries: HealthRetries = None,
    keep: Keep = None,
    auto_deploy: AutoDeploy = None,
    watch_path: WatchPaths = None,
    tag_pattern: TagPattern = None,
    shared_file: SharedFiles = None,
    shared_folder: SharedFolders = None,
    task: TaskCommands = None,
    command: PhaseCommands = None,
    hook: Hooks = None,
    option: RecipeOptions = None,
    strategy_option: StrategyOptions = None,
    proxy: Proxy = None,
    domain: Domains = None,
    upload_mb: UploadMb = None,
    proxy_template: ProxyTemplate = None,
    port: Port = None,
    balancer: Balancer = None,
    builder: Builder = None,
    as_json: Json = False,
) -> None:
    """Change what is given; lists are replaced as a whole, an option joins those that are set (NAME= takes it away). It
    takes effect with the next deployment."""
    body = _settings(
        branch=branch,
        servers=server,
        root=root,
        strategy=strategy,
        health_url=health_url,
        health_status=health_status,
        health_text=health_text,
        health_timeout_seconds=health_timeout,
        health_retries=health_retries,
        keep=keep,
        auto_deploy=auto_deploy,
        watch_paths=watch_path,
        tag_pattern=tag_pattern,
        shared_files=shared_file,
        shared_folders=shared_folder,
        task_commands=_task_commands(task),
        phase_commands=_phase_commands(command),
        hooks=parse_hooks(hook),
        recipe_options=_options(option),
        strategy_options=_options(strategy_option),
        proxy=proxy,
        domains=domain,
        upload_mb=upload_mb,
        proxy_template=proxy_template.read() if proxy_template else None,
        port=port,
        balancer=balancer,
        builder=builder,
    )
    if not body:
        raise ClientError("Nothing to change was given. See `devflow environments update --help`.", WRONG_USAGE)
    client = Client()
    body = with_those_set(client, project, environment, body)
    _show(client.patch("projects", project, "environments", environment, body=body), as_json=as_json)


@app.command("list")
def environment_list(project: Project, as_json: Json = False) -> None:
    """A project's environments."""
    found = Client().items("projects", project, "environments")
    if as_json:
        print_json(found)
        return
    columns = {"name": "NAME", "branch": "BRANCH", "servers": "SERVERS", "root": "ROOT", "strategy": "STRATEGY"}
    print_table(
        found, columns, empty=f"No environment yet: `devflow environments add {project} ENV --branch B --server NAME`."
    )


@app.command("show")
def environment_show(project: Project, environment: Environment, as_json: Json = False) -> None:
    """An environment with all its settings."""
    _show(Client().get("projects", project, "environments", environment), as_json=as_json)


@app.command("releases")
def environment_releases(project: Project, environment: Environment, as_json: Json = False) -> None:
    """The releases that the servers keep: what `devflow rollback --to DEPLOYMENT` can go back to."""
    found = Client().items("projects", project, "environments", environment, "releases")
    if as_json:
        print_json(found)
        return
    rows = [
        release | {"short": (release["commit"] or "")[:10], "at": moment(release["created_at"])} for release in found
    ]
    columns = {
        "name": "RELEASE",
        "deployment": "DEPLOYMENT",
        "short": "COMMIT",
        "at": "CREATED",
        "is_current": "CURRENT",
        "message": "MESSAGE",
    }
    print_table(rows, columns, empty=f"No release yet: `devflow deploy {project} {environment}`.")


@app.command("remove")
def environment_remove(project: Project, environment: Environment, yes: Yes = False, as_json: Json = False) -> None:
    """Forget an environment and its deployments; what runs on the servers goes on running, and is served."""
    question = f"Remove {project} {environment} with its variables and deployments from the panel? {STAYS}"
    confirm(question, yes=yes or as_json)
    Client().delete("projects", project, "environments", environment)
    if as_json:
        print_json({"removed": f"{project} {environment}"})
    else:
        print(f"{project} {environment} is removed from the panel. {STAYS}")


def _show(environment: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(environment)
        return
    hidden = ("id", "created_at", "detected")
    shown = {name.replace("_", " "): value for name, value in environment.items() if name not in hidden}
    print_fields(shown | {"detected recipe": environment["detected"].get("recipe")})


def _settings(**settings: Any) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in settings.items() if value is not None and (value != [] or name == "hooks")}


def _task_commands(given: list[str] | None) -> dict[str, str] | None:
    return dict(_pair(text) for text in given) if given else None


def _options(given: list[str] | None) -> dict[str, str] | None:
    return dict(_pair(text, "NAME=VALUE") for text in given) if given else None


def _phase_commands(given: list[str] | None) -> dict[str, list[str]] | None:
    commands: dict[str, list[str]] = {}
    for phase, command in map(_pair, given or []):
        commands.setdefault(phase, []).append(command)
    return commands or None


def _pair(text: str, form: str = "NAME=COMMAND") -> tuple[str, str]:
    name, equals, command = text.partition("=")
    if not equals:
        raise ClientError(f"{text!r} is not {form}.", WRONG_USAGE)
    return name, command
