"""The team's people: members and invitations."""

from typing import Annotated, Any

import typer

from devflow.cli.client import Client
from devflow.cli.errors import WRONG_USAGE, ClientError
from devflow.cli.output import Json, Yes, confirm, moment, print_json, print_table, tell

app = typer.Typer(help="The team's people: members and invitations.", no_args_is_help=True)

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="E-mail address of the member.")]
Role = Annotated[str, typer.Argument(metavar="ROLE", help="owner, admin, developer or viewer.")]


@app.command("list")
def member_list(as_json: Json = False) -> None:
    """The members of the team."""
    found = Client().items("members")
    if as_json:
        print_json(found)
        return
    rows = [member | {"joined_at": moment(member["joined_at"])} for member in found]
    print_table(rows, {"email": "E-MAIL", "name": "NAME", "role": "ROLE", "joined_at": "SINCE"}, empty="No member.")


@app.command("role")
def member_role(email: Email, role: Role, as_json: Json = False) -> None:
    """Give a member another role."""
    client = Client()
    member = client.patch("members", _id(client, email), body={"role": role})
    if as_json:
        print_json(member)
    else:
        print(f"{member['email']} is {member['role']} now.")


@app.command("remove")
def member_remove(email: Email, yes: Yes = False, as_json: Json = False) -> None:
    """Take a member out of the team; their tokens in it stop working."""
    client = Client()
    member_id = _id(client, email)
    confirm(f"Remove {email} from the team?", yes=yes)
    client.delete("members", member_id)
    if as_json:
        print_json({"removed": email})
    else:
        print(f"{email} is removed.")


@app.command("invite")
def invite(
    email: Annotated[
        str, typer.Argument(metavar="[EMAIL]", help="Only its owner can accept then. None: whoever has the link.")
    ] = "",
    role: Annotated[str, typer.Option(help="owner, admin, developer or viewer; none above your own.")] = "developer",
    days: Annotated[int, typer.Option(help="How long it is valid: 1, 7 or 30 days.")] = 7,
    as_json: Json = False,
) -> None:
    """Invite somebody into the team: prints a link that works once, or has it mailed."""
    made = Client().post("invitations", body={"email": email, "role": role, "days": days})
    if as_json:
        print_json(made)
    elif made["link"]:
        print(made["link"])
        tell(f"Send it to whom you invite, until {moment(made['expires_at'])}. It cannot be shown again.")
    else:
        print(f"The invitation is on its way to {made['email']}.")


@app.command("invitations")
def invitation_list(as_json: Json = False) -> None:
    """The invitations that nobody has accepted yet."""
    found = Client().items("invitations")
    if as_json:
        print_json(found)
        return
    rows = [each | {"expires_at": moment(each["expires_at"]), "email": each["email"] or "(any)"} for each in found]
    columns = {"id": "ID", "email": "FOR", "role": "ROLE", "invited_by": "BY", "expires_at": "VALID UNTIL"}
    print_table(rows, columns, empty="Nobody is invited. `devflow members invite` does it.")


@app.command("revoke")
def invitation_revoke(
    invitation: Annotated[str, typer.Argument(metavar="ID", help="Id of the invitation.")], as_json: Json = False
) -> None:
    """Take an invitation back: its link stops working."""
    Client().delete("invitations", invitation)
    if as_json:
        print_json({"revoked": invitation})
    else:
        print("The invitation is taken back.")


def _id(client: Client, email: str) -> str:
    """Raises ClientError for who is no member."""
    found: list[dict[str, Any]] = client.items("members")
    member = next((member for member in found if member["email"] == email.strip().lower()), None)
    if member is None:
        raise ClientError(f"{email} is not in the team. `devflow members list` shows who is.", WRONG_USAGE)
    return str(member["id"])
