"""Projects, environments and variables."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts.models import Role
from devflow.apps.deployments import services as deployments
from devflow.apps.deployments.models import Deployment
from devflow.apps.projects import selectors, services
from devflow.apps.projects.models import Environment, Project, Variable
from devflow.apps.servers import services as servers
from devflow.apps.servers.models import Server
from devflow.core import keys
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from tests.support.shop import Shop

NASTY = ["; rm -rf ~", "$(id)", "it's", 'a "b"', "späße 日本", "a\\b", "-rf", "*"]


# --- projects ---------------------------------------------------------------------------------------------------------


def add(shop: Shop, **settings: Any) -> Project:
    return services.project_add(
        actor=shop.actor(), **({"slug": "blog", "repository": "https://git.example.test/blog.git"} | settings)
    )


def test_a_repository_over_ssh_gets_a_deploy_key(shop: Shop) -> None:
    project = add(shop, repository="git@git.example.test:blog.git")
    assert project.deploy_key.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert project.deploy_key_public == keys.public_of(project.deploy_key, "devflow-blog")
    assert add(shop, slug="other").deploy_key_public == ""


def test_a_given_deploy_key_is_taken(shop: Shop) -> None:
    private = keys.generate()
    project = add(shop, deploy_key=f"{private}\n\n")
    assert project.deploy_key == private


def test_the_deploy_key_stays_when_other_things_change(shop: Shop) -> None:
    project = add(shop, repository="git@git.example.test:blog.git")
    before = project.deploy_key
    services.project_update(actor=shop.actor(), project=project, name="The Blog", recipe="php")
    assert (project.deploy_key, project.name, project.recipe) == (before, "The Blog", "php")


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("slug", {"slug": "My Shop"}),
        ("slug", {"slug": "; rm -rf ~"}),
        ("slug", {"slug": ""}),
        ("repository", {"repository": "ext::sh -c id"}),
        ("repository", {"repository": ""}),
        ("repository", {"repository": "https://user:token@host/x"}),
        ("recipe", {"recipe": "cobol"}),
        ("deploy_key", {"deploy_key": "hello"}),
        ("name", {"name": "a\nb"}),
    ],
)
def test_what_is_not_valid_is_refused_by_field(shop: Shop, field: str, settings: dict[str, str]) -> None:
    with pytest.raises(InvalidError) as refused:
        add(shop, **settings)
    assert list(refused.value.errors) == [field]


def test_slugs_are_taken_once_in_a_team(shop: Shop) -> None:
    with pytest.raises(ConflictError, match="There is a project 'shop' in this team already"):
        add(shop, slug="shop")
    assert services.project_add(actor=shop.actor("stranger"), slug="shop", repository="/srv/git/x.git").slug == "shop"


def test_another_team_sees_none_of_it(shop: Shop) -> None:
    stranger = shop.actor("stranger")
    assert selectors.project_list(actor=stranger) == []
    with pytest.raises(NotFoundError):
        selectors.project_get(actor=stranger, slug="shop")
    with pytest.raises(NotFoundError, match="no project 'shop'"):
        selectors.environment_get(actor=stranger, slug="shop", name="production")
    with pytest.raises(NotFoundError, match="no environment 'staging'"):
        selectors.environment_get(actor=shop.actor(), slug="shop", name="staging")


def test_a_change_leaves_alone_what_others_changed_meanwhile(shop: Shop) -> None:
    mine = selectors.environment_get(actor=shop.actor(), slug="shop", name="production")
    theirs = selectors.environment_get(actor=shop.actor(), slug="shop", name="production")
    services.environment_update(actor=shop.actor(), environment=theirs, shared_files=["config/local.php"])
    services.environment_update(actor=shop.actor(), environment=mine, keep=3)
    now = selectors.environment_get(actor=shop.actor(), slug="shop", name="production")
    assert (now.keep, now.shared_files) == (3, ["config/local.php"])


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.VIEWER])
def test_who_may_not_manage(shop: Shop, role: str) -> None:
    actor = shop.actor(role)
    for act in (
        lambda: services.project_add(actor=actor, slug="x", repository="/srv/git/x.git"),
        lambda: services.project_update(actor=actor, project=shop.project, name="x"),
        lambda: services.project_remove(actor=actor, project=shop.project),
        lambda: services.environment_add(actor=actor, project=shop.project, name="x", branch="m", servers=["web1"]),
        lambda: services.environment_update(actor=actor, environment=shop.environment, keep=3),
        lambda: services.environment_remove(actor=actor, environment=shop.environment),
        lambda: services.variables_set(actor=actor, environment=shop.environment, values={"A": "1"}),
        lambda: services.variables_import(actor=actor, environment=shop.environment, text="A=1"),
        lambda: services.variable_unset(actor=actor, environment=shop.environment, key="A"),
        lambda: selectors.variable_values(actor=actor, environment=shop.environment),
    ):
        with pytest.raises(ForbiddenError):
            act()


# --- environments -----------------------------------------------------------------------------------------------------


def test_an_environment_has_sensible_defaults(shop: Shop) -> None:
    made = services.environment_add(
        actor=shop.actor(), project=shop.project, name="staging", branch="develop", servers=["web2", "web1", "web2"]
    )
    assert (made.root, made.strategy, made.keep, made.health_url) == ("/srv/shop-staging", "atomic", 5, "")
    found = selectors.environment_get(actor=shop.actor(), slug="shop", name="staging")
    assert [server.name for server in found.servers.all()] == ["web1", "web2"]


def test_names_are_taken_once_in_a_project(shop: Shop) -> None:
    with pytest.raises(ConflictError, match="There is an environment 'production' in shop already"):
        shop.add_environment("production")


@pytest.mark.parametrize("nested", ["", "/releases", "/shared/deeper"])
def test_a_folder_is_one_environments_own(shop: Shop, nested: str) -> None:
    with pytest.raises(InvalidError, match="a folder of its own") as caught:
        services.environment_add(
            actor=shop.actor(),
            project=shop.project,
            name="staging",
            branch="main",
            servers=["web1"],
            root=shop.environment.root + nested,
        )
    assert list(caught.value.errors) == ["root"]


def foreign(shop: Shop, *, host: str = "WEB1.example.test", **settings: Any) -> Environment:
    """An environment of the other team, on a server of its own, which is the machine of web1."""
    stranger = shop.actor("stranger")
    servers.server_add(actor=stranger, name="theirs", host=host, user="other")
    project = services.project_add(actor=stranger, slug="evil", repository="/srv/git/evil.git", recipe="static")
    settings = {"name": "production", "branch": "main", "servers": ["theirs"], **settings}
    return services.environment_add(actor=stranger, project=project, **settings)


@pytest.mark.parametrize("nested", ["", "/releases"])
def test_a_folder_of_another_team_is_refused_and_nothing_is_told_of_it(shop: Shop, nested: str) -> None:
    with pytest.raises(InvalidError, match="on the same machine") as caught:
        foreign(shop, root=shop.environment.root + nested)
    assert list(caught.value.errors) == ["root"]
    assert not any(word in str(caught.value) for word in ("shop production", "Shopkeepers", "web1"))
    theirs = services.environment_add(
        actor=shop.actor("stranger"),
        project=selectors.project_get(actor=shop.actor("stranger"), slug="evil"),
        name="staging",
        branch="main",
        servers=["theirs"],
        root="/srv/evil",
    )
    for change in ({"root": shop.environment.root + nested}, {"root": "/srv/shop/shared/x"}):
        with pytest.raises(InvalidError, match="on the same machine"):
            services.environment_update(actor=shop.actor("stranger"), environment=theirs, **change)


def test_the_same_folder_on_another_teams_other_machine(shop: Shop) -> None:
    assert foreign(shop, host="web9.example.test", root=shop.environment.root).root == shop.environment.root


def test_a_folder_shared_with_another_team_since_before_can_still_be_edited(shop: Shop) -> None:
    theirs = foreign(shop, root="/srv/evil")
    with scopes_disabled():
        Environment.objects.filter(pk=theirs.pk).update(root=shop.environment.root)
    assert services.environment_update(actor=shop.actor(), environment=shop.environment, keep=7).keep == 7
    moved = services.environment_update(actor=shop.actor(), environment=shop.environment, root="/srv/elsewhere")
    with pytest.raises(InvalidError, match="on the same machine"):
        services.environment_update(actor=shop.actor(), environment=moved, root="/srv/shop")


def test_folders_side_by_side_and_on_another_machine(shop: Shop) -> None:
    shop.add_environment("shop-two")
    services.environment_add(
        actor=shop.actor(),
        project=shop.project,
        name="far",
        branch="main",
        servers=["web2"],
        root=shop.environment.root,
    )


def test_a_machine_is_no_two_servers_of_an_environment(shop: Shop) -> None:
    with scope(team=shop.team):
        first, second = Server.objects.filter(name__in=["web1", "web2"])
        second.host, second.port = first.host, first.port
        second.save()
    with pytest.raises(InvalidError, match="the same machine"):
        services.environment_update(actor=shop.actor(), environment=shop.environment, servers=["web1", "web2"])


def test_only_servers_of_the_team_are_taken(shop: Shop) -> None:
    project = services.project_add(actor=shop.actor("stranger"), slug="x", repository="/srv/git/x.git")
    with pytest.raises(InvalidError, match="There is no server web1"):
        services.environment_add(
            actor=shop.actor("stranger"), project=project, name="x", branch="main", servers=["web1"]
        )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("branch", "a..b"),
        ("branch", "-x"),
        ("root", "/"),
        ("root", "/srv/../etc"),
        ("root", "srv/shop"),
        ("strategy", "hope"),
        ("keep", 1),
        ("keep", 101),
        ("keep", True),
        ("keep", float("nan")),
        ("health_url", "ftp://host/"),
        ("health_url", "http://"),
        ("health_url", "https://user:pw@host/"),
        ("health_url", "/a\nb"),
        ("health_status", 99),
        ("health_text", "a\nb"),
        ("health_timeout_seconds", 0),
        ("health_retries", -1),
        ("shared_files", ["../x"]),
        ("shared_files", ["/etc/passwd"]),
        ("shared_folders", [".git"]),
        ("task_commands", {"build": "x" * 10_001}),
        ("task_commands", {"build": "a\x00b"}),
        ("phase_commands", {"undo": ["x"]}),
        ("phase_commands", {"preflight": ["x"]}),
        ("phase_commands", {"reload": [1]}),
        ("servers", []),
        ("servers", ["gone"]),
        ("colour", "red"),
    ],
)
def test_settings_that_are_not_valid_are_refused_by_field(shop: Shop, field: str, value: object) -> None:
    with pytest.raises(InvalidError) as refused:
        services.environment_update(actor=shop.actor(), environment=shop.environment, **{field: value})
    assert list(refused.value.errors) == [field]


@pytest.mark.parametrize("value", NASTY)
def test_nasty_values_are_carried_literally(shop: Shop, value: str) -> None:
    services.environment_update(
        actor=shop.actor(),
        environment=shop.environment,
        shared_files=[value, value],
        shared_folders=[f"  folders/{value}/ ", ""],
        health_text=value,
        phase_commands={"reload": [value, " "]},
        task_commands={"npm run build": value},
        root=f"/srv/{value}",
    )
    kept = selectors.environment_get(actor=shop.actor(), slug="shop", name="production")
    assert (kept.shared_files, kept.shared_folders) == ([value], [f"folders/{value}"])
    assert (kept.health_text, kept.root) == (value, f"/srv/{value}")
    assert (kept.phase_commands, kept.task_commands) == ({"reload": [value]}, {"npm run build": value})


def test_a_refused_setting_changes_nothing(shop: Shop) -> None:
    with pytest.raises(InvalidError):
        services.environment_update(actor=shop.actor(), environment=shop.environment, branch="next", keep=0)
    assert selectors.environment_get(actor=shop.actor(), slug="shop", name="production").branch == "main"


def test_nothing_is_removed_under_a_deployment(shop: Shop) -> None:
    deployment = deployments.deployment_request(actor=shop.actor(), environment=shop.environment)
    with pytest.raises(ConflictError, match="A deployment to shop production is under way"):
        services.environment_remove(actor=shop.actor(), environment=shop.environment)
    with pytest.raises(ConflictError):
        services.project_remove(actor=shop.actor(), project=shop.project)
    deployments.deployment_cancel(actor=shop.actor(), deployment=deployment)
    services.project_remove(actor=shop.actor(), project=shop.project)
    with scope(team=shop.team):
        assert not Deployment.objects.exists()


# --- variables --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [*NASTY, "", "two\nlines", "x" * 100_000])
def test_variables_are_sealed_and_come_back_as_they_were(shop: Shop, value: str) -> None:
    services.variables_set(actor=shop.actor(), environment=shop.environment, values={"KEY": value})
    assert selectors.variable_values(actor=shop.actor(), environment=shop.environment) == {"KEY": value}
    with connection.cursor() as cursor:
        cursor.execute("SELECT value_sealed FROM projects_variable")
        sealed = bytes(cursor.fetchone()[0])
    assert len(value) < 8 or value.encode() not in sealed  # short ones are found in random bytes, too


def test_setting_again_changes_the_one_there_is(shop: Shop) -> None:
    for value in ("one", "two"):
        services.variables_set(actor=shop.actor(), environment=shop.environment, values={"KEY": value})
    with scope(team=shop.team):
        assert [variable.value for variable in Variable.objects.all()] == ["two"]


@pytest.mark.parametrize("key", ["1A", "A-B", "", "A B", "$(id)", "A=B", "x" * 256])
def test_bad_keys(shop: Shop, key: str) -> None:
    with pytest.raises(InvalidError):
        services.variables_set(actor=shop.actor(), environment=shop.environment, values={"GOOD": "1", key: "x"})
    assert selectors.variable_values(actor=shop.actor(), environment=shop.environment) == {}


@pytest.mark.parametrize("value", ["a\x00b", "a\ud800b"])
def test_values_that_no_file_can_hold(shop: Shop, value: str) -> None:
    with pytest.raises(InvalidError) as refused:
        services.variables_set(actor=shop.actor(), environment=shop.environment, values={"KEY": value})
    assert list(refused.value.errors) == ["KEY"]


def test_importing_a_file(shop: Shop) -> None:
    text = "# note\nexport A=1\nB='two words'\n"
    assert services.variables_import(actor=shop.actor(), environment=shop.environment, text=text) == ["A", "B"]
    assert selectors.variable_values(actor=shop.actor(), environment=shop.environment) == {"A": "1", "B": "two words"}


def test_unsetting(shop: Shop) -> None:
    services.variables_set(actor=shop.actor(), environment=shop.environment, values={"A": "1"})
    services.variable_unset(actor=shop.actor(), environment=shop.environment, key="A")
    with pytest.raises(NotFoundError, match="There is no variable 'A' in shop production"):
        services.variable_unset(actor=shop.actor(), environment=shop.environment, key="A")


def test_differences_name_keys_and_no_values(shop: Shop) -> None:
    staging = shop.add_environment("staging")
    services.variables_set(actor=shop.actor(), environment=shop.environment, values={"A": "1", "B": "1", "C": "1"})
    services.variables_set(actor=shop.actor(), environment=staging, values={"A": "1", "B": "2", "D": "1"})
    found = selectors.variable_diff(actor=shop.actor(Role.VIEWER), here=shop.environment, there=staging)
    assert [(one.key, one.state) for one in found] == [("B", "changed"), ("C", "only here"), ("D", "only there")]
