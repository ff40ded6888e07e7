"""The APIs of the git providers, by the provider's name."""

from __future__ import annotations

from devflow.apps.sources.api.base import ProviderApi
from devflow.apps.sources.api.bitbucket import BitbucketApi
from devflow.apps.sources.api.gitea import GiteaApi
from devflow.apps.sources.api.github import GitHubApi
from devflow.apps.sources.api.gitlab import GitLabApi

APIS: dict[str, ProviderApi] = {
    "github": GitHubApi(),
    "gitlab": GitLabApi(),
    "gitea": GiteaApi(),
    "bitbucket": BitbucketApi(),
}
