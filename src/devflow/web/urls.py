"""The addresses of the pages."""

from __future__ import annotations

from django.urls import include, path

from devflow.web.views import dashboard, deployments, environments, projects, servers, setup, team, theme, tokens

_environment = [
    path("", environments.environment_detail, name="environment"),
    path("plan/", environments.environment_plan, name="environment-plan"),
    path("plan/state/", environments.plan_state, name="plan-state"),
    path("plan/inspect/", environments.plan_inspect, name="plan-inspect"),
    path("variables/", environments.variable_list, name="environment-variables"),
    path("variables/set/", environments.variable_set, name="variable-set"),
    path("variables/import/", environments.variables_import, name="variables-import"),
    path("variables/remove/", environments.variable_unset, name="variable-unset"),
    path("settings/", environments.environment_settings, name="environment-settings"),
    path("remove/", environments.environment_remove, name="environment-remove"),
    path("deploy/", deployments.deploy, name="environment-deploy"),
    path("rollback/", deployments.rollback, name="environment-rollback"),
]

urlpatterns = [
    path("", dashboard.dashboard, name="dashboard"),
    path("board/", dashboard.board, name="dashboard-board"),
    path("setup", setup.setup, name="setup"),
    path("accounts/", include("allauth.account.urls")),
    path("theme/", theme.theme, name="theme"),
    path("servers/", servers.server_list, name="servers"),
    path("add/server/", servers.server_add, name="server-add"),
    path("servers/<str:name>/", servers.server_detail, name="server"),
    path("servers/<str:name>/state/", servers.server_state, name="server-state"),
    path("servers/<str:name>/check/", servers.server_check, name="server-check"),
    path("servers/<str:name>/forget-host-key/", servers.server_forget_key, name="server-forget-key"),
    path("servers/<str:name>/maintenance/", servers.server_maintenance, name="server-maintenance"),
    path("servers/<str:name>/remove/", servers.server_remove, name="server-remove"),
    path("projects/", projects.project_list, name="projects"),
    path("add/project/", projects.project_add, name="project-add"),
    path("projects/<str:slug>/", projects.project_detail, name="project"),
    path("projects/<str:slug>/settings/", projects.project_settings, name="project-settings"),
    path("projects/<str:slug>/remove/", projects.project_remove, name="project-remove"),
    path("projects/<str:slug>/add-environment/", environments.environment_add, name="environment-add"),
    path("projects/<str:slug>/environments/<str:name>/", include(_environment)),
    path("deployments/", deployments.deployment_list, name="deployments"),
    path("deployments/<uuid:deployment_id>/", deployments.deployment_detail, name="deployment"),
    path("deployments/<uuid:deployment_id>/head/", deployments.deployment_head, name="deployment-head"),
    path("deployments/<uuid:deployment_id>/plan/", deployments.deployment_plan, name="deployment-plan"),
    path("deployments/<uuid:deployment_id>/log/", deployments.deployment_log, name="deployment-log"),
    path("deployments/<uuid:deployment_id>/cancel/", deployments.deployment_cancel, name="deployment-cancel"),
    path("tokens/", tokens.token_list, name="tokens"),
    path("tokens/<uuid:token_id>/revoke/", tokens.token_revoke, name="token-revoke"),
    path("team/", team.team, name="team"),
    path("team/switch/", team.team_switch, name="team-switch"),
]
