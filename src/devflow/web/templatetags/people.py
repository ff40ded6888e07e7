"""How people are shown: {% load people %}."""

from __future__ import annotations

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from devflow.apps.accounts.models import User

register = template.Library()


@register.filter
def initials(user: User) -> str:
    """AL for Ada Lovelace; of somebody without a name, the beginning of the e-mail address."""
    words = user.name.split() or [user.email]
    picked = [words[0], words[-1]] if len(words) > 1 else words
    return "".join(word[0] for word in picked).upper()


@register.simple_tag
def at_time(moment: datetime) -> SafeString:
    """A time that is to come, or counts to the minute: {% at_time invitation.expires_at %}."""
    utc = moment.astimezone(UTC)
    return format_html('<time datetime="{}" data-at>{}</time>', utc.isoformat(), utc.strftime("%Y-%m-%d %H:%M UTC"))
