"""What becomes of every table: whose data it holds, how it is exported, how it is deleted.

A table that nobody decided about fails a test (tests/apps/privacy/test_decisions.py): whoever adds a table adds a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CASCADE = "with what it belongs to"
ERASED = "personal data is erased, a stub without it stays"


@dataclass(frozen=True, slots=True)
class Decision:
    """`of`: person, team, panel (of the installation as a whole) or nobody.

    `person`, `project` and `team` are how its rows are found from these (lookups of Django); those are exported.
    `omit` are columns that are never exported; binary columns, which hold what is sealed, never are either.
    `deleted` says how its rows go.
    """

    of: str
    deleted: str
    person: tuple[str, ...] = ()
    project: str = ""
    team: str = ""
    omit: tuple[str, ...] = ()


PANEL: Final = Decision("panel", "stays: it tells nothing of persons or teams")
NOBODY: Final = Decision("nobody", "stays: it is Django's own, and holds no data of anybody")

TABLES: Final[dict[str, Decision]] = {
    # accounts
    "accounts_user": Decision("person", "with the account", person=("pk",), omit=("password",)),
    "accounts_team": Decision("team", "with the team", person=("memberships__user",), team="pk"),
    "accounts_membership": Decision("team", CASCADE, person=("user",), team="team"),
    "accounts_invitation": Decision(
        "team",
        "with the team; those for or accepted by a person with the account",
        person=("accepted_by",),
        team="team",
        omit=("digest",),
    ),
    "accounts_apitoken": Decision("team", CASCADE, person=("user",), team="team", omit=("digest",)),
    "accounts_ratewindow": Decision("panel", "by itself, within an hour; keys are digests"),
    "accounts_idempotencykey": Decision("team", "by itself, after a day, or with the team"),
    "accounts_setuptoken": PANEL,
    "accounts_panelkey": PANEL,
    # audit
    "audit_event": Decision("team", ERASED, person=("user_id", "target_id"), project="project_id", team="team"),
    "audit_chain": PANEL,
    "audit_device": Decision("person", CASCADE, person=("user",)),
    "audit_apirequest": Decision("team", "with the account or the team; by itself", person=("user_id",), team="team"),
    # notifications
    "notifications_channel": Decision("team", CASCADE, project="project", team="team"),
    "notifications_notification": Decision(
        "team", "after 30 days, or with its channel; those that name a person with the account", team="team"
    ),
    "notifications_pushkey": PANEL,
    "notifications_pushdevice": Decision(
        "person",
        "with the account, its log-in or the team; 90 days after it was last seen",
        person=("user",),
        omit=("session_key", "digest"),
    ),
    "notifications_pushmessage": Decision(
        "person", "when it is sent or given up, or with its device", person=("device__user",)
    ),
    # sources
    "sources_source": Decision("team", CASCADE, project="project", team="team", omit=("hook_token",)),
    "sources_delivery": Decision("team", CASCADE, project="source__project", team="team"),
    "sources_report": Decision("team", CASCADE, project="source__project", team="team"),
    # servers
    "servers_cluster": Decision("team", CASCADE, team="team"),
    "servers_server": Decision("team", CASCADE, team="team"),
    "servers_clusteraction": Decision("team", CASCADE, team="team"),
    # projects
    "projects_project": Decision("team", CASCADE, project="pk", team="team"),
    "projects_environment": Decision("team", CASCADE, project="project", team="team"),
    "projects_environment_servers": Decision("team", CASCADE, project="environment__project", team="environment__team"),
    "projects_grant": Decision("team", CASCADE, person=("membership__user",), project="project", team="team"),
    "projects_variable": Decision("team", CASCADE, project="project", team="team"),
    "projects_variablechange": Decision(
        "team",
        "with the project; a person's account is taken out",
        person=("changed_by",),
        project="project",
        team="team",
    ),
    # deployments
    "deployments_deployment": Decision(
        "team",
        "with the project; a person's account is taken out",
        person=("requested_by", "cancelled_by"),
        project="project",
        team="team",
    ),
    "deployments_step": Decision("team", CASCADE, project="deployment__project", team="team"),
    "deployments_run": Decision("team", CASCADE, project="deployment__project", team="team"),
    "deployments_event": Decision("team", CASCADE, project="deployment__project", team="team"),
    "deployments_release": Decision("team", CASCADE, project="environment__project", team="team"),
    # containers
    "containers_snapshot": Decision("team", CASCADE, team="team"),
    "containers_action": Decision(
        "team",
        "after a week, or with the server; a person's account is taken out",
        person=("requested_by",),
        team="team",
    ),
    "containers_follow": Decision("team", "after an hour, or with the server", team="team"),
    "containers_logpart": Decision("team", CASCADE, team="team"),
    "containers_budget": Decision("team", CASCADE, project="project", team="team"),
    # changes
    "changes_change": Decision("team", "by itself, within a day, or with the team", team="team"),
    # privacy
    "privacy_archive": Decision(
        "person", "after seven days, with its file; with the account or the team", person=("user",)
    ),
    # logging in
    "account_emailaddress": Decision("person", CASCADE, person=("user",)),
    "account_emailconfirmation": Decision("person", CASCADE, person=("email_address__user",), omit=("key",)),
    "mfa_authenticator": Decision("person", CASCADE, person=("user",), omit=("data",)),
    "usersessions_usersession": Decision("person", CASCADE, person=("user",), omit=("session_key", "data")),
    "django_session": Decision("person", "ended with the account; by itself"),
    # the queue
    "procrastinate_jobs": Decision("panel", "when they are done; those that name a person with the account"),
    "procrastinate_events": Decision("panel", CASCADE),
    "procrastinate_periodic_defers": PANEL,
    "procrastinate_workers": PANEL,
    # Django's own
    "django_migrations": NOBODY,
    "django_content_type": NOBODY,
    "auth_permission": NOBODY,
    "auth_group": NOBODY,
    "auth_group_permissions": NOBODY,
}
