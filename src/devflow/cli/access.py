"""Who may do what in a project: grants beside the roles, and protected environments."""

from typing import Annotated, Any

import typer

from devflow.cli.client import Client
from devflow.cli.errors import FAILED, ClientError
from devflow.cli.names import Environment, Project
from devflow.cli.output import Json, moment, print_json, print_table

app = typer.Typer(help="Who may do what in a project: grants, and protected environments.", no_args_is_help=True)

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="Address of a member of the team.")]
Actions = Annotated[
    list[str], typer.Argument(metavar="ACTION...", help="Any of deploy, approve, see_secrets, shell, manage.")
]
Where = Annotated[str, typer.Option("--environment", "-e", metavar="ENV", help="Else it is for the whole project.")]


@app.command("list")
def access_list(project: Project, as_json: Json = False) -> None:
    """What each member may do in each environment (* by a grant), and all grants."""
    access = Client().get("projects", project, "access")
    if as_json:
        print_json(access)
        return
    print_table(_rows(access), {"email": "MEMBER", "role": "ROLE", "where": "WHERE", "may": "MAY"}, empty="")
    if access["protected"]:
        print(f"\nProtected: {', '.join(access['protected'])}")
    if access["grants"]:
        print()
        rows = [
            grant | {"where": grant["environment"] or "all", "at": moment(grant["granted_at"])}
            for grant in access["grants"]
        ]
        columns = {"email": "GRANTED TO", "action": "ACTION", "where": "WHERE", "granted_by": "BY", "at": "AT"}
        print_table(rows, columns, empty="")


@app.command("grant")
def access_grant(
    project: Project, email: Email, actions: Actions, environment: Where = "", as_json: Json = False
) -> None:
    """Grant a member actions beside what their role allows."""
    body = {"email": email, "actions": actions, "environment": environment}
    made = Client().post("projects", project, "access", body=body)
    if as_json:
        print_json(made)
    else:
        print(f"{email} may {', '.join(grant['action'] for grant in made)} in {environment or project}.")


@app.command("revoke")
def access_revoke(
    project: Project, email: Email, actions: Actions, environment: Where = "", as_json: Json = False
) -> None:
    """Take grants back; what a role allows stays."""
    client = Client()
    grants = client.get("projects", project, "access")["grants"]
    ours = {
        grant["action"]: grant
        for grant in grants
        if grant["email"].lower() == email.lower() and (grant["environment"] or "") == environment
    }
    missing = [action for action in actions if action not in ours]
    if missing:
        where = environment or f"all of {project}"
        raise ClientError(f"{email} has no grant to {', '.join(missing)} for {where}.", FAILED)
    for action in dict.fromkeys(actions):
        client.delete("projects", project, "access", ours[action]["id"])
    if as_json:
        print_json({"revoked": [ours[action]["id"] for action in dict.fromkeys(actions)]})
    else:
        print(f"{email} has no grant to {', '.join(dict.fromkeys(actions))} any more.")


@app.command("protect")
def access_protect(
    project: Project,
    environment: Environment,
    off: Annotated[bool, typer.Option("--off", help="The rights of developers count again.")] = False,
    as_json: Json = False,
) -> None:
    """Let only those with a grant (and owners and admins) deploy and change an environment."""
    changed = Client().put("projects", project, "environments", environment, "protection", body={"on": not off})
    if as_json:
        print_json(changed)
    else:
        print(f"{environment} is {'protected' if changed['is_protected'] else 'not protected any more'}.")


def _rows(access: dict[str, Any]) -> list[dict[str, str]]:
    """A line for each member and place; what is the same everywhere is on one."""
    rows = []
    for person in access["people"]:
        shown = [(place["environment"] or "project", _may(place["rights"])) for place in person["places"]]
        if len({may for _, may in shown}) == 1:
            shown = [("everywhere", shown[0][1])]
        rows += [{"email": person["email"], "role": person["role"], "where": where, "may": may} for where, may in shown]
    return rows


def _may(rights: list[dict[str, str]]) -> str:
    return ", ".join(right["action"] + ("" if right["why"] == "role" else "*") for right in rights)
