"""What the API takes and gives. Inputs refuse fields that they do not know; times are in UTC."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from devflow.api.v1.hooks import Hook, SettingOut
from devflow.apps.accounts.models import Team
from devflow.apps.deployments.models import Deployment, Release, Step
from devflow.apps.deployments.selectors import deployment_document, step_document
from devflow.apps.projects.models import Environment, Project
from devflow.apps.servers.models import Server
from devflow.core import keys

UNCHANGED: Any = None
"""Default of a setting that may be left out, and may not be null."""


def _told(found: ErrorDetails, known: str) -> InitErrorDetails:
    """An error as it was; `known` is said of a field that the model itself does not know."""
    is_unknown = found["type"] == "extra_forbidden" and len(found["loc"]) == 1
    message: Any = known if is_unknown else found["msg"]
    kind: Any = found["type"]
    return InitErrorDetails(type=PydanticCustomError(kind, message), loc=found["loc"], input=found["input"])


def _in_utc(at: datetime) -> datetime:
    """PostgreSQL refuses offsets of sixteen hours and more, which RFC 3339 allows."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("Give a time of the years 1 to 9999.") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time with its offset, as it is sent; in UTC once it is here."""


class Input(BaseModel):
    """Base of what is sent to the API."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _name_the_known(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Who sent a field that there is not is told which there are."""
        try:
            return handler(data)
        except ValidationError as error:
            known = f"There is no such field; there are {', '.join(cls.model_fields)}."
            raise ValidationError.from_exception_data(
                error.title, [_told(found, known) for found in error.errors(include_url=False)]
            ) from None

    def given(self) -> dict[str, Any]:
        """Only what was sent."""
        return self.model_dump(exclude_unset=True)


# --- problems ---------------------------------------------------------------------------------------------------------


class FieldProblem(BaseModel):
    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457. `errors` names the fields that were refused; the panel's log knows the problem by its `id`."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem]
    id: str


# --- people -----------------------------------------------------------------------------------------------------------


class TeamOut(BaseModel):
    id: UUID
    name: str
    slug: str
    is_current: bool
    requires_second_factor: bool

    @classmethod
    def of(cls, team: Team, current: Team) -> Self:
        return cls(
            id=team.pk,
            name=team.name,
            slug=team.slug,
            is_current=team == current,
            requires_second_factor=team.requires_second_factor,
        )


class WhoAmI(BaseModel):
    """`scopes` is null for a session, which may do all that the role allows."""

    email: str
    name: str
    team: TeamOut
    role: str
    scopes: list[str] | None
    version: str


# --- servers ----------------------------------------------------------------------------------------------------------


class ServerIn(Input):
    name: str = Field(examples=["web1"])
    host: str = Field("", description="Host name or IP address.", examples=["web1.example.com"])
    port: int = 22
    user: str = Field("root", description="Login name on the server.", examples=["deploy"])
    private_key: str = Field(
        "", description="Private SSH key without a passphrase. Empty: the panel makes one (ed25519)."
    )
    host_key: str = Field(
        "", description="The server's public host key, to be pinned. Empty: the first one that is seen."
    )
    is_local: bool = Field(False, description="The panel's own machine, instead of a host.")


class ServerPatch(Input):
    host: str = UNCHANGED
    port: int = UNCHANGED
    user: str = UNCHANGED


class Maintenance(Input):
    on: bool


class ServerOut(BaseModel):
    """`facts` is what the last check read: system, CPU, memory, disk, tools; `public_key` the panel's key for it."""

    id: UUID
    name: str
    host: str
    port: int
    user: str
    address: str
    is_local: bool
    public_key: str
    host_key: str
    host_key_fingerprint: str
    status: str
    status_message: str
    facts: dict[str, Any]
    checked_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, server: Server) -> Self:
        return cls(
            id=server.pk,
            name=server.name,
            host=server.host,
            port=server.port,
            user=server.user,
            address=server.address,
            is_local=server.is_local,
            public_key=server.public_key,
            host_key=server.host_key,
            host_key_fingerprint=keys.fingerprint(server.host_key),
            status=server.status,
            status_message=server.status_message,
            facts=server.facts,
            checked_at=server.checked_at,
            created_at=server.created_at,
        )


# --- projects ---------------------------------------------------------------------------------------------------------


class ProjectIn(Input):
    slug: str = Field(examples=["shop"])
    repository: str = Field(
        description="https, ssh, or a path on the servers.", examples=["git@github.com:acme/shop.git"]
    )
    name: str = ""
    recipe: str = Field("", description="How the framework is deployed. Empty: detected from the files of the commit.")
    deploy_key: str = Field(
        "", description="Private SSH key for the repository. Empty: made, where the address is an ssh one."
    )
    reads_file: bool = Field(
        False, description="The commit's devflow.yml is in force before the settings of the panel."
    )


class ProjectPatch(Input):
    name: str = UNCHANGED
    repository: str = UNCHANGED
    recipe: str = UNCHANGED
    deploy_key: str = UNCHANGED
    reads_file: bool = UNCHANGED


class EnvironmentSettings(Input):
    """All that can be set of an environment; what is left out keeps its value, or its default."""

    root: str = Field(UNCHANGED, description="Folder of the site on the servers; /srv/<project>-<environment>.")
    strategy: str = Field(UNCHANGED, description="How the release goes live.", examples=["atomic"])
    keep: int = Field(UNCHANGED, description="How many releases are kept on the servers.", examples=[5])
    auto_deploy: bool = Field(UNCHANGED, description="Deployed when the webhook tells of a push to the branch.")
    health_url: str = Field(
        UNCHANGED, description="Address, or a path that is asked on the server itself. Empty: no check."
    )
    health_status: int = Field(UNCHANGED, description="Expected status.", examples=[200])
    health_text: str = Field(UNCHANGED, description="Text that the answer must contain. Empty: any.")
    health_timeout_seconds: int = UNCHANGED
    health_retries: int = UNCHANGED
    shared_files: list[str] = Field(UNCHANGED, description="Files that all releases share, besides the recipe's.")
    shared_folders: list[str] = Field(UNCHANGED, description="Folders that all releases share, besides the recipe's.")
    watch_paths: list[str] = Field(
        UNCHANGED,
        description="Patterns of which a push must touch one to deploy. Empty: every push does.",
        examples=[["apps/shop/**"]],
    )
    tag_pattern: str = Field(
        UNCHANGED, description="Tags that match are deployed when they are pushed. Empty: none.", examples=["v*"]
    )
    task_commands: dict[str, str] = Field(
        UNCHANGED, description="Own commands in place of the recipe's, by task; '' switches a task off."
    )
    phase_commands: dict[str, list[str]] = Field(UNCHANGED, description="Own commands after the recipe's, by phase.")
    hooks: list[Hook] = Field(UNCHANGED, description="Own commands before and after phases and steps, in order.")
    recipe_options: dict[str, str] = Field(
        UNCHANGED,
        description="Values of the recipe's own options, by name; what is left out has its default.",
        examples=[{"php_version": "8.3"}],
    )
    strategy_options: dict[str, str] = Field(
        UNCHANGED,
        description="Values of the strategy's own options, by name; what is left out has its default.",
        examples=[{"drain_seconds": "60"}],
    )
    proxy: str = Field(
        UNCHANGED, description="What serves the domains on the servers: nginx, or '' for nothing of ours."
    )
    domains: list[str] = Field(
        UNCHANGED, description="Host names that are served; `*.` may stand before one.", examples=[["shop.example.com"]]
    )
    upload_mb: int = Field(UNCHANGED, description="How large a request may be, in MB.", examples=[64])
    proxy_template: str = Field(
        UNCHANGED,
        description="An own site file for nginx in place of the generated one; `@upstream@` stands for where the "
        "release listens. Empty: the generated one.",
    )
    port: int | None = Field(
        UNCHANGED,
        description="The first of two local ports for two releases side by side. null: chosen where some are needed.",
    )
    balancer: str = Field(UNCHANGED, description="Name of the server that balances the load. Empty: none.")
    builder: str = Field(UNCHANGED, description="Name of the server that builds images. Empty: the first server.")
    requires_variables: bool = Field(
        UNCHANGED, description="Fail a deployment where a variable that `.env.example` requires is not set."
    )
    windows: list[dict[str, Any]] = Field(
        UNCHANGED,
        description="When it may be deployed, on the clock of `time_zone`; none: always. `to` may be of the next day.",
        examples=[[{"days": ["mon", "tue", "wed", "thu"], "from": "08:00", "to": "16:00"}]],
    )
    freezes: list[dict[str, Any]] = Field(
        UNCHANGED,
        description="When it may not be deployed, and why; `to` null: until it is lifted.",
        examples=[[{"from": "2026-12-20T18:00", "to": "2027-01-04T08:00", "reason": "Christmas"}]],
    )
    time_zone: str = Field(UNCHANGED, description="Of windows and freezes.", examples=["Europe/Berlin"])


class EnvironmentIn(EnvironmentSettings):
    name: str = Field(examples=["production"])
    branch: str = Field(examples=["main"])
    servers: list[str] = Field(description="Names of the servers that it is deployed to.", examples=[["web1"]])


class EnvironmentPatch(EnvironmentSettings):
    branch: str = UNCHANGED
    servers: list[str] = UNCHANGED


class EnvironmentOut(BaseModel):
    """`detected` is what the last look at the repository found, or {} before one."""

    id: UUID
    project: str
    name: str
    branch: str
    servers: list[str]
    root: str
    strategy: str
    keep: int
    auto_deploy: bool
    health_url: str
    health_status: int
    health_text: str
    health_timeout_seconds: int
    health_retries: int
    shared_files: list[str]
    shared_folders: list[str]
    watch_paths: list[str]
    tag_pattern: str
    task_commands: dict[str, str]
    phase_commands: dict[str, list[str]]
    hooks: list[Hook]
    recipe_options: dict[str, str]
    strategy_options: dict[str, str]
    proxy: str
    domains: list[str]
    upload_mb: int
    proxy_template: str
    port: int | None
    balancer: str
    builder: str
    requires_variables: bool
    windows: list[dict[str, Any]]
    freezes: list[dict[str, Any]]
    time_zone: str
    is_protected: bool = Field(description="Only grants, owners and admins carry rights here, beside reading.")
    detected: dict[str, Any]
    created_at: datetime

    @classmethod
    def of(cls, environment: Environment) -> Self:
        others = {"balancer", "builder"}
        same = {field: getattr(environment, field) for field in EnvironmentSettings.model_fields if field not in others}
        return cls(
            id=environment.pk,
            project=environment.project.slug,
            name=environment.name,
            branch=environment.branch,
            servers=[server.name for server in environment.servers.all()],
            balancer=environment.balancer.name if environment.balancer else "",
            builder=environment.builder.name if environment.builder else "",
            is_protected=environment.is_protected,
            detected={name: value for name, value in environment.detected.items() if name != "file"},
            created_at=environment.created_at,
            **same,
        )


class ProjectOut(BaseModel):
    """`recipe` is '' where it is detected; `deploy_key_public` has to be added to the repository."""

    id: UUID
    slug: str
    name: str
    repository: str
    recipe: str
    deploy_key_public: str
    reads_file: bool
    environments: list[EnvironmentOut]
    created_at: datetime

    @classmethod
    def of(cls, project: Project) -> Self:
        return cls(
            id=project.pk,
            slug=project.slug,
            name=project.name,
            repository=project.repository,
            recipe=project.recipe,
            deploy_key_public=project.deploy_key_public,
            reads_file=project.reads_file,
            environments=[EnvironmentOut.of(environment) for environment in project.environments.all()],
            created_at=project.created_at,
        )


# --- deployments ------------------------------------------------------------------------------------------------------


class DeployIn(Input):
    commit: str | None = Field(None, description="Full commit id. Null: the newest of the branch.")
    branch: str | None = Field(
        None, description="Another branch, whose newest commit is deployed. Null: that of the environment."
    )
    clean: bool = Field(False, description="Reuse no dependencies or built files of earlier releases.")
    override_reason: str | None = Field(
        None, description="Why it begins outside the windows, never empty; needs the right to approve."
    )


class ProjectDeployIn(DeployIn):
    environment: str = Field(examples=["production"])


class PromoteIn(Input):
    source: str = Field(description="Name of the environment whose commit is taken.", examples=["staging"])
    override_reason: str | None = Field(
        None, description="Why it begins outside the windows, never empty; needs the right to approve."
    )


class RollbackIn(Input):
    to: str | None = Field(None, description="Id of the deployment whose release shall serve again. Null: see above.")


class StepOut(BaseModel):
    id: UUID
    name: str
    server: str
    phase: str
    status: str
    started_at: datetime | None
    duration_seconds: float | None
    exit_code: int | None

    @classmethod
    def of(cls, step: Step) -> Self:
        return cls.model_validate(step_document(step))


class DeploymentOut(BaseModel):
    """`log_bytes` and `log_lines` are the size of the log so far, `last_seq` the number of the last event."""

    id: UUID
    project: str
    environment: str
    status: str
    commit: str | None
    branch: str
    message: str
    author: str | None
    trigger: str
    requested_by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_seconds: float | None
    strategy: str
    release: str
    servers: list[str]
    error: str | None
    waiting_for: str | None = Field(description="`window` while the deployment waits for one to open.")
    waiting_reason: str | None
    due_at: datetime | None = Field(description="When it begins by itself; null where only a person can have it begin.")
    due_there: str | None = Field(
        description="The same on the clock of the environment's time zone.", examples=["Mon 2026-11-23 08:00 CET"]
    )
    override_reason: str | None
    is_clean: bool
    log_lines: int
    log_bytes: int
    last_seq: int
    is_ended: bool

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        return cls.model_validate(deployment_document(deployment))


class DeploymentDetail(DeploymentOut):
    steps: list[StepOut]

    @classmethod
    def with_steps(cls, deployment: Deployment, steps: list[Step]) -> Self:
        return cls.model_validate(deployment_document(deployment, steps))


class ReleaseOut(BaseModel):
    """A release that the servers keep; it is gone back to by its `deployment`."""

    name: str
    deployment: UUID
    commit: str | None
    message: str
    is_current: bool
    created_at: datetime

    @classmethod
    def of(cls, release: Release) -> Self:
        deployment = release.deployment
        return cls(
            name=release.name,
            deployment=deployment.pk,
            commit=deployment.commit or None,
            message=deployment.commit_message,
            is_current=release.is_current,
            created_at=release.created_at,
        )


class PlanStepOut(BaseModel):
    """`condition` is a shell test in the release's folder: where it is false, nothing is done. While what
    `reused_while` names is unchanged, what the step made for an earlier release is reused."""

    name: str
    phase: str
    servers: list[str]
    command: str
    condition: str | None
    reused_while: str | None
    undo: str
    summary: str
    is_builtin: bool


class PlanServiceOut(BaseModel):
    """A service of a Compose file. `treatment` is replaced (a new one beside the old), left, recreated, or removed."""

    name: str
    treatment: Literal["replaced", "left", "recreated", "removed"]
    reason: str


class PlanOut(BaseModel):
    """`commit` is null where the newest of the branch is taken; of `variables` only the keys are shown.

    `settings` are those that devflow.yml can have, `warnings` what to know before.
    """

    strategy: str
    recipe: str
    release: str
    commit: str | None
    branch: str
    repository: str
    root: str
    keep: int
    servers: list[str]
    variables: list[str]
    shared_files: list[str]
    shared_folders: list[str]
    settings: list[SettingOut]
    warnings: list[str]
    is_clean: bool
    services: list[PlanServiceOut]
    steps: list[PlanStepOut]
