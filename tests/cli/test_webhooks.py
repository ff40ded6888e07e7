"""A project's webhook by the command line, against a panel that really deploys to this machine."""

from __future__ import annotations

import httpx
import pytest

from tests.cli.conftest import Cli, Shop
from tests.support.panel import Panel
from tests.support.payloads import commit_id, github_push, sent

pytestmark = pytest.mark.timeout(120)


def tell(panel: Panel, webhook: dict[str, str], commit: str, **how: str) -> httpx.Response:
    body, headers = sent(webhook["provider"], github_push(commit, **how), webhook["secret"])
    address = panel.url + httpx.URL(webhook["url"]).path
    return httpx.post(address, content=body, headers=headers, timeout=30)


def test_set_up_push_look_and_take_again(cli: Cli, shop: Shop, panel: Panel) -> None:
    assert f"devflow webhooks set {shop.slug}" in cli("webhooks", "show", shop.slug).err
    assert "Nothing came yet" in cli("webhooks", "deliveries", shop.slug).err
    webhook = cli("webhooks", "set", shop.slug, "github", "--json").json
    assert webhook["url"].endswith(f"/webhooks/github/{webhook['url'].rpartition('/')[2]}")
    shown = cli("webhooks", "show", shop.slug).out
    assert webhook["url"] in shown
    assert webhook["secret"] not in shown
    assert "1. In the repository on GitHub" in shown

    commit = shop.repository.commit({"index.html": "pushed"})
    ignored = tell(panel, webhook, commit)
    assert (ignored.status_code, "main" in ignored.json()["ignored"]) == (200, True)
    cli("environments", "update", shop.slug, "production", "--auto-deploy")
    (delivery,) = cli("webhooks", "deliveries", shop.slug, "--json").json
    again = cli("webhooks", "redeliver", shop.slug, delivery["id"], "--json").json
    assert (again["status"], again["redelivery_of"]) == (202, delivery["id"])
    (deployment,) = again["answer"]["deployments"]
    cli("deployments", "log", "-f", deployment)
    assert cli("deployments", "show", deployment, "--json").json["status"] == "success"
    assert shop.page() == "pushed"

    table = cli("webhooks", "deliveries", shop.slug).out
    assert f"deploys {deployment}" in table
    assert "No environment is deployed by a push to main." in table
    detail = cli("webhooks", "deliveries", shop.slug, delivery["id"]).out
    assert commit in detail
    assert "***" in detail
    assert webhook["secret"] not in detail


def test_a_new_secret(cli: Cli, shop: Shop, panel: Panel) -> None:
    assert "Choose the git provider" in cli("webhooks", "rotate", shop.slug, status=1).err
    told = cli("webhooks", "set", shop.slug, "github")
    assert "cannot be shown again" in told.err
    webhook = cli("webhooks", "rotate", shop.slug, "--json").json
    assert webhook["secret"] not in told.out
    assert tell(panel, webhook | {"secret": "old"}, commit_id(1)).status_code == 401
    assert tell(panel, webhook, commit_id(1)).status_code == 200
    assert "No webhooks are taken" in cli("webhooks", "set", shop.slug, "").out
    assert tell(panel, webhook, commit_id(2)).status_code == 404


def test_what_is_wrong_is_told(cli: Cli, shop: Shop) -> None:
    assert "github, gitlab, gitea, bitbucket" in cli("webhooks", "set", shop.slug, "cvs", status=2).err
    assert "There is no delivery" in cli("webhooks", "redeliver", shop.slug, "nonsense", status=1).err
    assert "There is no project" in cli("webhooks", "show", "nobodys", status=1).err


def test_whose_token_may_not(cli: Cli, shop: Shop, tokens: dict[str, str]) -> None:
    reader = cli.with_environment(DEVFLOW_TOKEN=tokens["read"])
    reader("webhooks", "deliveries", shop.slug)
    for command in (["set", shop.slug, "github"], ["rotate", shop.slug]):
        assert "scopes" in reader("webhooks", *command, status=6).err


def test_what_pushes_deploy_is_set_with_the_environment(cli: Cli, shop: Shop) -> None:
    update = ("environments", "update", shop.slug, "production")
    changed = cli(*update, "--watch-path", "apps/shop/**", "--watch-path", "lib", "--tag-pattern", "v*", "--json").json
    assert (changed["watch_paths"], changed["tag_pattern"]) == (["apps/shop/**", "lib"], "v*")
    changed = cli(*update, "--watch-path", "", "--tag-pattern", "", "--json").json
    assert (changed["watch_paths"], changed["tag_pattern"]) == ([], "")
