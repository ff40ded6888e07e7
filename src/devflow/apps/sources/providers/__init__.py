"""The git providers whose webhooks are understood, by the name that is in the webhook's address."""

from __future__ import annotations

from devflow.apps.sources.providers.base import Provider
from devflow.apps.sources.providers.bitbucket import Bitbucket
from devflow.apps.sources.providers.gitea import Gitea
from devflow.apps.sources.providers.github import GitHub
from devflow.apps.sources.providers.gitlab import GitLab

PROVIDERS: dict[str, Provider] = {
    "github": GitHub(),
    "gitlab": GitLab(),
    "gitea": Gitea(),
    "bitbucket": Bitbucket(),
}


def guess(repository: str) -> str:
    """The provider that a repository's address points to; '' where it tells nothing."""
    host = repository.rpartition("@")[2].partition("://")[2] or repository.rpartition("@")[2]
    host = host.replace(":", "/").partition("/")[0].lower()
    return next((name for name, provider in PROVIDERS.items() if any(part in host for part in provider.hosts)), "")
