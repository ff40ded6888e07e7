"""Commands that run the panel, and those of its administrator on the machine itself (`devflow admin …`)."""

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

import devflow
from devflow.core.errors import DevflowError, InvalidError, NotFoundError

if TYPE_CHECKING:
    from devflow.apps.accounts.models import Team, User

F = TypeVar("F", bound=Callable[..., None])
Email = Annotated[str, typer.Option("--email", help="e-mail address of the user")]
Person = Annotated[str, typer.Argument(metavar="EMAIL", help="e-mail address of the user")]
BackupFile = Annotated[Path, typer.Argument(metavar="FILE", help="the backup")]
PassphraseStdin = Annotated[bool, typer.Option("--passphrase-stdin", help="read the passphrase from stdin")]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="read the password from stdin")]

app = typer.Typer(help="Administration on the panel's own machine.", no_args_is_help=True)


def up() -> None:
    """Run everything: PostgreSQL (without DATABASE_URL), worker and web, until Ctrl-C or SIGTERM."""
    _become("devflow.supervisor")


def web(
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on")] = None,
    uds: Annotated[str | None, typer.Option(metavar="PATH", help="listen on this Unix socket instead")] = None,
) -> None:
    """Serve pages, API and event streams."""
    given = {"--host": host, "--port": port, "--uds": uds}
    _become("devflow.server", *(f"{name}={value}" for name, value in given.items() if value is not None))


def worker() -> None:
    """Carry out deployments and everything else that is queued."""
    _become("devflow.worker")


def version() -> None:
    """Print the version."""
    print(devflow.__version__)


def with_django(command: F) -> F:
    """The command finds Django set up, and the master key to be the database's; models can only be imported in it."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        import django
        from django.db import OperationalError

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "devflow.settings.base")
        django.setup()
        from devflow.apps.accounts.keys import master_key_compare

        try:
            master_key_compare()
            command(*args, **kwargs)
        except OperationalError as error:  # away, out of disk space, out of connections
            said, _, _ = str(error).strip().partition("\n")
            raise DevflowError(f"The database failed: {said}") from None

    return run  # type: ignore[return-value]


@app.command("migrate")
def migrate() -> None:
    """Bring the database up to date, while older versions of web and worker go on working with it.

    For who runs web and worker apart; `devflow up` does it by itself. The first time it makes the master key and prints
    the address of the set-up page.
    """
    _become("devflow.prepare", "--tell")


@app.command("create-user")
@with_django
def create_user(
    email: Email,
    password_stdin: PasswordStdin = False,
    superuser: Annotated[bool, typer.Option("--superuser", help="may administer the whole panel")] = False,
    team: Annotated[str | None, typer.Option(metavar="SLUG", help="team to join, where there are several")] = None,
    role: Annotated[str, typer.Option(help="owner, admin, developer or viewer of the team")] = "developer",
) -> None:
    """Create a user in the team; with --team, one who exists already joins it. The first user owns a new team.

    Without --password-stdin a password is made and printed.
    """
    from django.db import transaction

    from devflow.apps.accounts.selectors import user_find
    from devflow.apps.accounts.services import membership_add, team_create, user_create

    joined = _team(team)
    if joined and team and (known := user_find(email=email)):
        if password_stdin or superuser:
            raise InvalidError(f"There is a user {email} already: they join {team} without a password or --superuser.")
        membership_add(team=joined, user=known, role=role)
        return
    password = _line_of_stdin() if password_stdin else secrets.token_urlsafe(12)
    with transaction.atomic():
        user = user_create(email=email, password=password, is_superuser=superuser)
        if joined:
            membership_add(team=joined, user=user, role=role)
        else:
            team_create(name="Team", owner=user)
    if not password_stdin:
        print(password)


@app.command("setup-address")
@with_django
def setup_address() -> None:
    """Print a new one-time address of the set-up page, while there is no user; earlier ones no longer work."""
    from django.conf import settings

    from devflow.apps.accounts.services import setup_token_create

    token = setup_token_create()
    url = settings.PUBLIC_URL
    print(f"Set up: {url}/setup?token={token}" if token else f"The panel is set up already. Log in: {url}")


@app.command("reset-password")
@with_django
def reset_password(email: Email, password_stdin: PasswordStdin = False) -> None:
    """Print a link that sets a new password, once, within an hour; or set the one from stdin.

    A new password ends the user's sessions; their API tokens stay.
    """
    from devflow.apps.accounts.logins import address_proven, reset_link
    from devflow.apps.accounts.services import password_set

    user = _user(email)
    if password_stdin:
        password_set(user=user, password=_line_of_stdin())
        address_proven(user=user)
    else:
        print(reset_link(user=user))


@app.command("reset-mfa")
@with_django
def reset_mfa(email: Email) -> None:
    """Take all second factors away from a user who has lost them, and end their sessions.

    From then on the password alone lets them in; first make sure that it is they who ask.
    """
    from devflow.apps.accounts.second_factor import second_factors_remove

    second_factors_remove(user=_user(email))


@app.command("export-user")
@with_django
def export_user(
    email: Person,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file; else <e-mail>.zip here.")] = None,
) -> None:
    """Write all data of a user into a ZIP file: JSON, without secrets. Readable by you alone."""
    from devflow.apps.audit.services import audit_record
    from devflow.apps.privacy.export import archive_write

    user = _user(email)
    path = output or Path(f"{user.email}.zip".replace("/", "_"))
    try:
        size = archive_write(path, kind="user", subject_id=user.pk, subject=user.email)
    except OSError as error:
        raise InvalidError(f"{path} cannot be written: {error.strerror}.") from None
    told = f"user {user.email}"
    audit_record(team=None, who="administrator", action="data.exported", target=told, target_id=str(user.pk))
    print(f"{path}: {size} bytes")


@app.command("delete-user")
@with_django
def delete_user(email: Person, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete a user for good: sessions, tokens, memberships. What they did stays, without saying who it was.

    Refused while they are the only owner of a team.
    """
    from devflow.apps.privacy.services import user_delete

    user = _user(email)
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete {user.email} for good?", abort=True, err=True)
    user_delete(user=user)
    print(f"{user.email} is deleted.")


@app.command("create-token")
@with_django
def create_token(
    email: Email,
    scopes: Annotated[str, typer.Option(help="any of read, deploy, admin, separated by commas")],
    team: Annotated[str | None, typer.Option(help="slug of the team, where the user is in several")] = None,
) -> None:
    """Create an API token and print it; it cannot be shown again."""
    from devflow.apps.accounts.selectors import actor_get, team_list
    from devflow.apps.accounts.services import token_create

    user = _user(email)
    teams = {found.slug: found for found in team_list(user=user)}
    if team is not None and team not in teams:
        raise NotFoundError(f"{email} is in no team {team!r} (but in: {', '.join(teams) or 'none'}).")
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    _, raw = token_create(
        actor=actor_get(user=user, team=teams[team] if team else None), name="command line", scopes=wanted
    )
    print(raw)


@app.command("rotate-keys")
@with_django
def rotate_keys(
    finish: Annotated[bool, typer.Option("--finish", help="take the older keys out of the key file")] = False,
) -> None:
    """Make a new master key and seal all secrets anew with it, while the panel runs.

    May be interrupted at any time: run again, it goes on. A key from the environment or a command is made by you; this
    says how.
    """
    from devflow.apps.accounts.keys import keys_finish, keys_rotate

    def show(column: str, done: int, total: int) -> None:
        if total and (done == total or sys.stderr.isatty()):
            typer.echo(f"\r{column}: {done} of {total}", nl=done >= total, err=True)

    print(keys_finish(progress=show) if finish else keys_rotate(progress=show))


@app.command("backup")
def backup(file: BackupFile, passphrase_stdin: PassphraseStdin = False) -> None:
    """Write database and master key of the whole panel into one encrypted file, while it runs or not.

    The passphrase is asked for, or taken from stdin or DEVFLOW_BACKUP_PASSPHRASE. Without it nobody can read the file.
    """
    from devflow import panel_backup
    from devflow.settings.env import load_config

    with _told_problems(file):
        panel_backup.target_check(file)
    config = load_config()
    passphrase = panel_backup.passphrase_check(_passphrase(passphrase_stdin, is_new=True))
    with panel_backup.panel_database(config) as url, _told_problems(file):
        _require_key()
        size = panel_backup.backup_write(config, url, file, passphrase)
        _record_backup(file)
    print(f"{file}: {size} bytes. Keep it away from this machine, and the passphrase away from the file.")


@app.command("restore")
def restore(file: BackupFile, passphrase_stdin: PassphraseStdin = False) -> None:
    """Make the panel again from a backup, on a machine that has none: in an empty data folder.

    With DATABASE_URL that database must be empty. What is there already is never overwritten.
    """
    from devflow import panel_backup
    from devflow.settings.env import load_config

    with _told_problems(file):
        passphrase = _passphrase(passphrase_stdin, is_new=False)
        manifest = panel_backup.backup_restore(load_config(), file, passphrase)
    print(f"Restored as it was at {manifest['made_at']} (DevFlow {manifest['version']}). Start it: devflow up")


@app.command("allow-local")
@with_django
def allow_local(
    team: Annotated[str, typer.Option(metavar="SLUG", help="the team")],
    off: Annotated[bool, typer.Option("--off", help="allow it no longer")] = False,
) -> None:
    """Let a team have this machine, the panel's own, as a server. Whoever manages that team can then take the panel.

    The first team may from the beginning.
    """
    from devflow.apps.servers.services import this_machine_allow

    found = _team(team)
    assert found is not None
    this_machine_allow(team=found, allowed=not off)
    print(f"{found.name} may {'not ' if off else ''}use this machine.")


@app.command("clear-networks")
@with_django
def clear_networks(
    team: Annotated[str | None, typer.Option(metavar="SLUG", help="the team, where there are several")] = None,
) -> None:
    """Let a team be reached from every address again: for who has locked themselves out."""
    from devflow.apps.accounts.services import team_networks_clear

    found = _team(team)
    if found is None:
        raise NotFoundError("There is no team yet.")
    team_networks_clear(team=found, who="devflow admin")
    print(f"{found.name} may be reached from everywhere.")


def _user(email: str) -> "User":
    """Raises NotFoundError."""
    from devflow.apps.accounts.selectors import user_find

    user = user_find(email=email)
    if user is None:
        raise NotFoundError(
            f"There is no user {email}. Open the set-up address that `devflow up` prints, or: devflow admin create-user"
        )
    return user


def _team(slug: str | None) -> "Team | None":
    """The team of this slug, or the only one; None while there is none. Raises NotFoundError, InvalidError."""
    from devflow.apps.accounts.models import Team

    teams = {team.slug: team for team in Team.objects.order_by("slug")}
    if slug is None and len(teams) < 2:
        return next(iter(teams.values()), None)
    if slug is None:
        raise InvalidError(f"There are several teams: choose one by --team ({', '.join(teams)}).")
    if slug not in teams:
        raise NotFoundError(f"There is no team {slug!r} (but: {', '.join(teams) or 'none'}).")
    return teams[slug]


def _passphrase(is_on_stdin: bool, *, is_new: bool) -> str:
    """From stdin, the environment or who sits there. Raises InvalidError."""
    if is_on_stdin:
        return _line_of_stdin()
    if given := os.environ.get("DEVFLOW_BACKUP_PASSPHRASE"):
        return given
    if not sys.stdin.isatty():
        raise InvalidError("Give the passphrase of the backup by --passphrase-stdin or DEVFLOW_BACKUP_PASSPHRASE.")
    typed: str = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=is_new, err=True)
    return typed


@contextmanager
def _told_problems(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidError(f"{error.filename or file}: {error.strerror or error}.") from None


@with_django
def _require_key() -> None:
    """A backup with another key than the database's would restore nothing that is secret."""


@with_django
def _record_backup(file: Path) -> None:
    from devflow.apps.audit.services import audit_record

    audit_record(team=None, who="administrator", action="panel.backed_up", target=file.name)


def _line_of_stdin() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _become(module: str, *arguments: str) -> NoReturn:
    """Go on as another module, in a process that holds nothing of the command line's."""
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606 - no shell is wanted
