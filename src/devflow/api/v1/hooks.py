"""Hooks of environments, and where the settings in force are from."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Hook(BaseModel):
    """A team's own command, right before or after a phase or a step of each deployment."""

    model_config = ConfigDict(extra="forbid")

    when: Literal["before", "after"]
    what: str = Field(description="Name of a phase or a step.", examples=["activate", "composer install"])
    command: str = Field(description="Shell text.", examples=["php artisan app:warm"])
    where: Literal["all", "first"] = Field("all", description="On all servers, or on the first alone.")


class SettingOut(BaseModel):
    """A setting that devflow.yml can have, as it is in force."""

    name: str = Field(examples=["keep", "recipe_options.php_version", "hooks.before_activate"])
    value: str
    source: str = Field(description="panel, detected, or a line of the file.", examples=["devflow.yml line 3"])
