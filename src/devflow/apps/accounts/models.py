"""People, their teams and their API tokens."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django_scopes import ScopedManager

from devflow.apps.sealed import Sealed
from devflow.core.names import uuid7


class Role(models.TextChoices):
    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    DEVELOPER = "developer", "Developer"
    VIEWER = "viewer", "Viewer"


class Scope(models.TextChoices):
    READ = "read", "Read"
    DEPLOY = "deploy", "Deploy"
    ADMIN = "admin", "Admin"


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email__iexact=username)


class User(AbstractBaseUser):
    """`is_machine`: stands for a team's token in what refers to people; it cannot log in and is listed nowhere.
    `uses_keys`: whether single keys do something on the pages (WCAG 2.1.4 wants that they can be switched off).
    `language`: in which the pages are for them; empty: as the browser asks.
    `wrote_at`: when they last sent a request that may change something; known where there is a replica to read from.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=200, blank=True)
    is_active = models.BooleanField(default=True)
    is_superuser = models.BooleanField(default=False)
    is_machine = models.BooleanField(default=False)
    uses_keys = models.BooleanField(default=True)
    language = models.CharField(max_length=10, blank=True, default="")
    wrote_at = models.DateTimeField(null=True, editable=False)
    date_joined = models.DateTimeField(auto_now_add=True)

    objects = UserManager()
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    def __str__(self) -> str:
        return self.name or self.email

    @property
    def handle(self) -> str:
        """What a person is told apart by: their e-mail address; of a token, its name."""
        return self.name if self.is_machine else self.email


class Team(models.Model):
    """`allowed_networks`: where its members and tokens may come from; an empty list allows every address.

    With `may_use_this_machine` the panel's own machine can be one of its servers: who manages such a team can take the
    whole panel.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200)
    slug = models.CharField(max_length=63, unique=True)
    allowed_networks = ArrayField(models.CharField(max_length=43), default=list, blank=True)
    requires_second_factor = models.BooleanField(default=False)
    may_use_this_machine = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ScopedManager(team="team")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "user"], name="membership_once")]


class Invitation(models.Model):
    """A way into the team, for whoever has the link; `email` binds it to one address. The link itself is not kept."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="invitations")
    email = models.EmailField(blank=True)
    role = models.CharField(max_length=10, choices=Role.choices)
    digest = models.CharField(max_length=64, unique=True)
    inviter = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ScopedManager(team="team")


class ApiToken(models.Model):
    """`prefix` is shown to recognise a token; `digest` is the SHA-256 of the whole of it, in hexadecimal.

    `user` is whom it speaks for: its maker, or for a team's token a user who is none but the token. `projects` are the
    ids of those that it is for, or None for all of the team's.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="tokens")
    user = models.ForeignKey(User, models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=200)
    prefix = models.CharField(max_length=16)
    digest = models.CharField(max_length=64, unique=True)
    scopes = ArrayField(models.CharField(max_length=10, choices=Scope.choices))
    projects = ArrayField(models.UUIDField(), null=True, blank=True)
    made_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_address = models.GenericIPAddressField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ScopedManager(team="team")


class RateWindow(models.Model):
    """How often something was done since a window began: see limits.py. `key` names a token, a person or an address; it
    is deleted when the window is over."""

    key = models.CharField(primary_key=True, max_length=150)
    used = models.PositiveIntegerField()
    ends_at = models.DateTimeField(db_index=True)


class IdempotencyKey(models.Model):
    """A request that was carried out, and its answer in JSON. `subject` and `request`: see idempotency.py."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    subject = models.CharField(max_length=64)
    key = models.CharField(max_length=200)
    request = models.CharField(max_length=64)
    answer_sealed = models.BinaryField(default=bytes, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    answer = Sealed()
    objects = ScopedManager(team="team")

    class Meta:
        indexes: ClassVar = [models.Index(fields=["team", "created_at"], name="idempotency_expiry")]
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "subject", "key"], name="idempotency_once")]


class SetupToken(models.Model):
    """The one-time token of the set-up page; there is none once the first user exists."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)


class PanelKey(models.Model):
    """One row: the digest of the master key that this database's secrets are sealed with, and those of `older` ones
    that some may still be sealed with."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    digest = models.CharField(max_length=64)
    older = ArrayField(models.CharField(max_length=64), default=list, blank=True)
