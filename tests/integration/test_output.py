"""What commands print is stored whole and in order, with secrets hidden before they are stored, whatever it is."""

from __future__ import annotations

import base64
import shlex
from secrets import token_hex

import pytest
from django_scopes import scopes_disabled

from devflow.apps.deployments.models import Deployment, Event
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.sites import Estate, Site

pytestmark = pytest.mark.usefixtures("worker")

SECRET = "s3cret/of:the=site"
KEY = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn\n'quoted' \"line\" of it\n-----END KEY-----\n"
BEGIN, END = "== begin ==", "== end =="


@pytest.fixture
def site(estate: Estate, worker: WorkerProcess) -> Site:
    estate.commit("page")
    return estate.site(f"site-{token_hex(3)}")


def printed(site: Site, command: str, *, timeout_seconds: float = 60) -> list[str]:
    """The lines that the log holds of a command that prints, once its deployment has succeeded."""
    marked = f"echo '{BEGIN}'; {command}\necho '{END}'"
    site.deployer.change(site.environment, phase_commands={"prepare": [marked]})
    deployment = site.deploy(timeout_seconds=timeout_seconds)
    site.check(deployment, status="success", serves="page")
    log = site.deployer.log(deployment)
    return log[log.index(BEGIN) + len(BEGIN) + 1 : log.index(END)].split("\n")[:-1]


def test_100_000_lines(site: Site) -> None:
    lines = printed(site, "seq -f 'line %.0f of many, some words to make it a line' 100000", timeout_seconds=90)
    assert lines == [f"line {number} of many, some words to make it a line" for number in range(1, 100_001)]


def test_both_outputs_in_the_order_of_printing(site: Site) -> None:
    command = "for n in $(seq 200); do echo out $n; echo err $n >&2; done"
    assert printed(site, command) == [f"{kind} {number}" for number in range(1, 201) for kind in ("out", "err")]


def test_bytes_that_are_no_text(site: Site) -> None:
    command = r"printf 'valid ü\ninvalid \377\376 \303( end\nnul \000 here\nhalf \360\237\n'"
    assert printed(site, command) == ["valid ü", "invalid \ufffd\ufffd \ufffd( end", "nul \ufffd here", "half \ufffd"]


def test_carriage_returns_and_colours(site: Site) -> None:
    command = r"printf '10%%\r50%%\r100%%\n'; printf 'dos\r\n'; printf '\033[31mred\033[0m\n\n   \n'"
    assert printed(site, command) == ["100%", "dos", "\x1b[31mred\x1b[0m", "", "   "]


def test_no_newline_at_the_end(site: Site, deployer: Deployer) -> None:
    deployer.change(
        site.environment, phase_commands={"prepare": ["printf first"], "protect": ["printf second; exit 3"]}
    )
    deployment = site.deploy()
    assert deployment.status == "failed"
    assert "exit code 3: second" in deployment.error
    lines = deployer.log(deployment).splitlines()
    assert lines.index("first") < lines.index("second")


def test_a_line_of_a_megabyte(site: Site, deployer: Deployer) -> None:
    deployer.set_variables(site.environment, {"TOKEN": SECRET})
    wide = "yes 0123456789abcdef | head -n 65536 | tr -d '\\n'"
    lines = printed(site, f"{wide}; printf ' %s ' \"$TOKEN\"; {wide}; echo")
    text = "".join(lines)
    assert text == "0123456789abcdef" * 65536 + " *** " + "0123456789abcdef" * 65536


def test_a_flood_of_unbroken_output_keeps_secrets(site: Site, deployer: Deployer) -> None:
    """Cut at any place: a secret across the cut is hidden all the same, where a space is near it."""
    deployer.set_variables(site.environment, {"TOKEN": SECRET})
    lines = printed(site, "for n in $(seq 5000); do printf 'word %s ' \"$TOKEN\"; done; echo")
    assert "".join(lines).split() == ["word", "***"] * 5000


def test_secrets_are_hidden_before_they_are_stored(site: Site, deployer: Deployer) -> None:
    deployer.set_variables(site.environment, {"TOKEN": SECRET, "KEY": KEY, "SHORT": "on"})
    command = """\
printf '%s\\n' "$TOKEN" "a${TOKEN}b $TOKEN"
printf '%s' "$TOKEN" | base64
printf '%s' "$KEY"
printf '%s' "$KEY" | base64 -w0; echo
printf '%s' "$KEY" | base64
env | grep -A3 -E '^(TOKEN|KEY)='
php -r 'echo urlencode(getenv("TOKEN")), PHP_EOL, json_encode(getenv("KEY")), PHP_EOL;'
cat .env
set -x; : "$TOKEN" "$KEY"; set +x
echo on and on"""
    lines = printed(site, command)
    assert lines[:3] == ["***", "a***b ***", "***"]
    assert lines[-1] == "on and on"
    encoded = base64.b64encode(KEY.encode()).decode()
    forms = [SECRET, *(line for line in KEY.splitlines()), base64.b64encode(SECRET.encode()).decode(), encoded]
    forms += [encoded[start : start + 76] for start in range(0, len(encoded) - 76, 76)]
    stored = everything_stored(site)
    assert [form for form in forms if form in stored] == []


def test_a_secret_in_an_error_is_hidden(site: Site, deployer: Deployer) -> None:
    deployer.set_variables(site.environment, {"TOKEN": SECRET})
    deployer.change(site.environment, phase_commands={"prepare": ['echo "refused: $TOKEN" >&2; exit 1']})
    deployment = site.deploy()
    assert deployment.error.endswith("failed with exit code 1: refused: ***")
    assert SECRET not in everything_stored(site)


def test_frames_that_a_command_prints_are_only_text(site: Site, deployer: Deployer) -> None:
    """A build cannot end steps, explain itself or name another commit: it does not know the run's own mark."""
    frames = ["end 4 0", "begin 99", "note commit 0\tx\ty", "explain all is well", "ended 0", "note current fake"]
    fakes = [f"\x1e{'0' * 24} 12.34 {frame}\x1e" for frame in frames] + ["\x1e\x1e", "\x1eunfinished"]
    lines = printed(site, "; ".join(f"printf '%s\\n' {shlex.quote(fake)}" for fake in fakes))
    assert lines == [fake.replace("\x1e", "") for fake in fakes]
    with scopes_disabled():
        deployment = Deployment.objects.filter(environment=site.environment).latest("created_at")
    assert len(deployment.commit) == 40
    assert deployer.wait_ended(deployment).release == site.left(deployment, site.servers[0]).current


def everything_stored(site: Site) -> str:
    """Rows of the site's deployments and their events, as text."""
    with scopes_disabled():
        deployments = list(Deployment.objects.filter(environment=site.environment).values())
        events = list(Event.objects.filter(deployment__environment=site.environment).values())
    return f"{deployments}{''.join(event['text'] for event in events)}{events}"
