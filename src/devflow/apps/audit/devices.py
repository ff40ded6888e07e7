"""What a person logs in with, as coarse as it has to be to know it again: the browser's family and the network."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from devflow.apps.accounts.models import User
from devflow.apps.audit.models import Device

_FAMILIES: Final = (
    ("Edge", r"\bEdg"),
    ("Opera", r"\bOPR/"),
    ("Firefox", r"Firefox/|FxiOS/"),
    ("Chrome", r"Chrome/|CriOS/|Chromium/"),
    ("Safari", r"Safari/"),
    ("curl", r"^curl/"),
)
_SYSTEMS: Final = (
    ("Android", r"Android"),
    ("iOS", r"iPhone|iPad"),
    ("Windows", r"Windows"),
    ("macOS", r"Macintosh|Mac OS"),
    ("Linux", r"Linux"),
)


def family_of(user_agent: str) -> str:
    """`Firefox on Linux`; a program's own name where it is no known browser."""
    family = next((name for name, pattern in _FAMILIES if re.search(pattern, user_agent)), "")
    system = next((name for name, pattern in _SYSTEMS if re.search(pattern, user_agent)), "")
    if not family:
        family = re.split(r"[/ ]", user_agent.strip(), maxsplit=1)[0][:40] or "an unknown program"
    return f"{family} on {system}" if system else family


def network_of(address: str) -> str:
    """The /24 of an IPv4 address, the /48 of an IPv6 address: a provider changes what is behind that."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    return str(ipaddress.ip_network(f"{address}/{24 if found.version == 4 else 48}", strict=False))


def device_known(*, email: str, user_agent: str, address: str) -> str:
    """What an attempt to log in comes from, where the account has logged in with it before; else ''."""
    family, network = family_of(user_agent), network_of(address)
    known = Device.objects.filter(user__email=email.strip().lower()[:254], family=family, network=network)
    return f"{family} {network}" if "\x00" not in email and network and known.exists() else ""


def device_seen(*, user: User, user_agent: str, address: str) -> tuple[str, bool]:
    """Remembers the device; its family, and whether it is new to a person who had others before."""
    family, network = family_of(user_agent), network_of(address)
    known = list(Device.objects.filter(user=user).values_list("family", "network"))
    device, _ = Device.objects.get_or_create(user=user, family=family, network=network)
    device.save(update_fields=["last_at"])
    return family, bool(known) and (family, network) not in known
