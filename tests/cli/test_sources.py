"""`devflow sources`: access to the git provider, and what it is told of a real deployment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Shop
from tests.support.panel import wait_until
from tests.support.provider import TOKEN, Provider, provider


@pytest.fixture
def stand_in() -> Iterator[Provider]:
    with provider("github") as found:
        yield found
        assert found.complaints == []


@pytest.fixture
def linked(cli: Cli, shop: Shop, stand_in: Provider, tmp_path: Path) -> Shop:
    """The shop with access to the stand-in."""
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    cli("webhooks", "set", shop.slug, "github")
    where = ("--api-url", stand_in.url, "--repository", "acme/shop")
    shown = cli("sources", "set", shop.slug, *where, "--token-file", str(token)).out
    assert "acme/shop" in shown
    assert TOKEN not in shown
    return shop


def last(cli: Cli, deployment: str) -> dict[str, Any]:
    """The last report of the deployment, as the API has it."""
    import httpx

    environment = cli.environment
    answer = httpx.get(
        f"{environment['DEVFLOW_URL']}/api/v1/deployments/{deployment}/reports",
        headers={"Authorization": f"Bearer {environment['DEVFLOW_TOKEN']}"},
    )
    return dict(answer.json()[-1])


def test_the_access_is_shown_tested_and_changed(cli: Cli, linked: Shop, stand_in: Provider) -> None:
    assert "The token opens acme/shop." in cli("sources", "test", linked.slug).out
    stand_in.ill = [(401, {}, "{}")]
    assert "is not accepted" in cli("sources", "test", linked.slug, status=1).err
    changed = cli("sources", "set", linked.slug, "--no-reports", "--tag-format", "deployed-{number}", "--json").json
    assert (changed["reports"], changed["tag_format"], changed["has_access_token"]) == (
        False,
        "deployed-{number}",
        True,
    )
    assert "Nothing to change" in cli("sources", "set", linked.slug, status=2).err
    assert "each tag is another" in cli("sources", "set", linked.slug, "--tag-format", "x", status=2).err
    assert "access token  set" in cli("sources", "show", linked.slug).out


def test_a_deployment_is_told_from_its_beginning_to_its_end(cli: Cli, linked: Shop, stand_in: Provider) -> None:
    cli("sources", "set", linked.slug, "--tag-format", "deployed-{environment}-{number}")
    commit = linked.repository.commit({"index.html": "second"})
    deployed = cli("deploy", linked.slug, "production", "--json").json
    wait_until(lambda: last(cli, deployed["id"])["status"] == "sent", 30, what=lambda: last(cli, deployed["id"]))
    told = [each for each in stand_in.told if each.operation == "status"]
    assert told[-1].path.endswith(f"/statuses/{commit}")
    assert told[-1].body["state"] == "success"
    assert told[-1].body["context"] == f"devflow/{linked.slug}/production"
    assert told[-1].body["target_url"].endswith(f"/deployments/{deployed['id']}/")
    assert len(stand_in.named("deployment")) == 1
    assert stand_in.named("tag") == [{"ref": "refs/tags/deployed-production-1", "sha": commit}]


def test_the_webhook_is_made_at_the_provider(cli: Cli, linked: Shop, stand_in: Provider) -> None:
    cli("sources", "webhook", linked.slug)
    wait_until(lambda: cli("sources", "show", linked.slug, "--json").json["hook_id"] is not None, 20)
    (made,) = stand_in.named("hook")
    assert made["config"]["url"] == cli("webhooks", "show", linked.slug, "--json").json["url"]


@pytest.mark.parametrize("how", ["hangs", "is away", "answers 500"])
def test_a_provider_that_is_ill_holds_up_no_deployment(
    cli: Cli, linked: Shop, stand_in: Provider, how: str, tmp_path: Path
) -> None:
    if how == "is away":
        away = ("--api-url", "http://127.0.0.1:1/api/v3")
        assert "give the access token" in cli("sources", "set", linked.slug, *away, status=2).err
        cli("sources", "set", linked.slug, *away, "--token-file", str(tmp_path / "token"))
    stand_in.ill = [None if how == "hangs" else (500, {}, "oh")] * 50
    deployed = cli("deploy", linked.slug, "production", "--json").json
    assert deployed["status"] == "success"
    assert linked.page() == "first"
    if how != "hangs":
        wait_until(lambda: bool(last(cli, deployed["id"])["error"]), 30)
        assert last(cli, deployed["id"])["status"] == "pending"
