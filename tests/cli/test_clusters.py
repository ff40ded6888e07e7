"""Clusters by the command line, on servers that do not answer: what is refused and what is told."""

from __future__ import annotations

import os

from tests.cli.conftest import Cli
from tests.support.panel import free_port


def test_a_cluster_that_cannot_be_formed_says_why_and_leaves_the_server_free(cli: Cli) -> None:
    name, server = f"shops-{os.urandom(3).hex()}", f"away-{os.urandom(3).hex()}"
    cli("servers", "add", server, "--host", "127.0.0.1", "--port", str(free_port()), "--generate-key")
    told = cli("clusters", "form", name, server, status=1)
    assert "nothing listens" in told.err
    shown = next(each for each in cli("clusters", "list", "--json").json if each["name"] == name)
    assert shown["servers"] == []
    assert name in cli("clusters", "list").out
    assert "is not in the cluster" in cli("clusters", "leave", name, server, "--yes", status=1).err
    assert "is removed" in cli("clusters", "remove", name, "--yes").out


def test_what_is_not_there(cli: Cli) -> None:
    assert "There is no cluster" in cli("clusters", "show", "nothing", status=1).err
    assert "There is no server" in cli("clusters", "form", "x", "nobody", status=2).err
    assert cli("clusters", "scale", "nothing", "web", "2", status=1).err
