"""Arguments that name things, alike in all commands."""

from typing import Annotated

import typer

Project = Annotated[str, typer.Argument(metavar="PROJECT", help="Slug of the project.")]
Environment = Annotated[str, typer.Argument(metavar="ENV", help="Name of the environment.")]
Server = Annotated[str, typer.Argument(metavar="NAME", help="Name of the server.")]
Deployment = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="Id of the deployment.")]

STAYS = (
    "What is on its servers stays there, goes on running, and is served: "
    "only deleting the whole project, in the panel's pages, can remove that too."
)
"""What removing from the panel leaves."""
