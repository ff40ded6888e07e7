"""`devflow deploy --clean`, and what `devflow plan` says of reuse."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli, Shop

pytestmark = pytest.mark.timeout(120)


def test_a_clean_deployment(cli: Cli, shop: Shop) -> None:
    assert cli("deploy", shop.slug, "production", "--json").json["is_clean"] is False
    made = cli("deploy", shop.slug, "production", "--clean", "--json").json
    assert (made["is_clean"], made["status"]) == (True, "success")
    steps = cli("plan", shop.slug, "production").out
    assert "reused while unchanged: package-lock.json, package.json, Node and npm" in steps
