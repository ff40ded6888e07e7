"""What most likely made a deployment fail, and what to do next: a table of rules over what was said.

The first rule that fits counts, so the particular stand before the general. A rule fits where one of its `signs` is in
the error or in the step's last lines, or where the step ended with one of its `codes`; with `steps`, only in a step of
such a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MOST_CHARACTERS = 6_000
"""So much of the end of what was printed, and of the beginning of the error, is looked at."""
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()].|.)")


@dataclass(frozen=True, slots=True)
class Cause:
    """`likely` and `next_step` are sentences for people."""

    name: str
    likely: str
    next_step: str


@dataclass(frozen=True, slots=True)
class _Rule:
    cause: Cause
    signs: re.Pattern[str] | None
    codes: tuple[int, ...] = ()
    steps: re.Pattern[str] | None = None


def likely_cause(
    *, error: str, step: str = "", exit_code: int | None = None, lines: Iterable[str] = ()
) -> Cause | None:
    """The cause that fits what failed: the panel's `error`, the failed step's name, its exit code and its last lines.
    None where no rule does."""
    printed = "\n".join(lines)[-MOST_CHARACTERS:]
    text = plain(f"{printed}\n{error[:MOST_CHARACTERS]}")
    return next((rule.cause for rule in RULES if _fits(rule, step, exit_code, text)), None)


def plain(text: str) -> str:
    """Without the escape sequences of a terminal."""
    return _ESCAPE.sub("", text) if "\x1b" in text else text


def _fits(rule: _Rule, step: str, exit_code: int | None, text: str) -> bool:
    if rule.steps and not rule.steps.search(step):
        return False
    return exit_code in rule.codes or bool(rule.signs and rule.signs.search(text))


def _rule(name: str, likely: str, next_step: str, *signs: str, codes: tuple[int, ...] = (), steps: str = "") -> _Rule:
    return _Rule(
        Cause(name, likely, next_step),
        re.compile("|".join(signs), re.IGNORECASE | re.MULTILINE) if signs else None,
        codes,
        re.compile(steps, re.IGNORECASE) if steps else None,
    )


_ANSWERED = r"The health check failed: [^\n]{1,300} answered "
RULES: tuple[_Rule, ...] = (
    # --- the way to the server ---
    _rule(
        "host key changed",
        "The server shows another host key than the one that was pinned.",
        "Compare the key with /etc/ssh/*.pub on the server. When it is right, forget the old one on the server's page.",
        r"shows another host key",
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        r"Host key verification failed",
    ),
    _rule(
        "login refused",
        "The server does not let the panel in with its key.",
        "Put the public key from the server's page into ~/.ssh/authorized_keys of that user, then check the server.",
        r"refused the login as",
    ),
    _rule(
        "server away",
        "The server could not be reached, or the connection was lost.",
        "Check that it is up and that its firewall lets the panel in; then check it on its page and deploy again.",
        r"cannot be reached",
        r"the connection was lost",
        r"no answer within \d+ s$",
    ),
    # --- the folder ---
    _rule(
        "lock held",
        "Another deployment, perhaps of another panel, holds the lock of this folder.",
        "Wait until it has ended. When it is gone for good, run on the server: devflow-run unlock, with the folder.",
        r"is locked by another deployment",
        r"An earlier deployment still runs on",
        r"Unable to create '[^\n']{1,300}\.lock': File exists",
    ),
    _rule(
        "folder of another",
        "The folder belongs to another environment, of this panel or another.",
        "Choose another folder in the settings of the environment.",
        r"is another environment's folder",
    ),
    _rule(
        "disk full",
        "The disk of the server is full.",
        "Free space there (old releases, logs, docker system df), or keep fewer releases; then deploy again.",
        r"No space left on device",
        r"ENOSPC",
        r"Disk quota exceeded",
        r"disk (of [^\n]{1,200} )?is full",
        r"Only \d+ MB are free in",
    ),
    # --- the repository ---
    _rule(
        "repository refused",
        "The git provider refused the deploy key, or the login.",
        "Add the project's deploy key to the repository (read access is enough), and check the repository's address.",
        r"The repository refused",
        r"could not read Username for",
        r"Authentication failed for '?(https?|ssh)",
        r"Permission denied \(publickey",
        r"remote: (HTTP Basic: )?Access denied",
    ),
    _rule(
        "repository missing",
        "There is no repository at this address, or the key may not see it.",
        "Check the address in the project's settings, and that the deploy key belongs to this repository.",
        r"There is no git repository at",
        r"Repository not found",
        r"does not appear to be a git repository",
    ),
    _rule(
        "branch missing",
        "The branch is not in the repository.",
        "Push the branch, or set another one in the settings of the environment.",
        r"The repository has no branch",
        r"couldn't find remote ref",
    ),
    _rule(
        "commit missing",
        "The commit is not in the repository; perhaps it was replaced by a forced push.",
        "Push it, or deploy the branch's newest commit.",
        r"There is no commit [0-9a-f]{7,64} in the repository",
        r"reference is not a tree",
    ),
    # --- memory and time ---
    _rule(
        "php memory limit",
        "PHP reached its memory_limit.",
        "Raise memory_limit for the command line (php -i | grep php.ini), or give the step -d memory_limit=-1.",
        r"Allowed memory size of \d+ bytes exhausted",
    ),
    _rule(
        "node heap",
        "Node.js ran out of its heap while it built.",
        "Set the variable NODE_OPTIONS=--max-old-space-size=2048 for this environment, or build on a larger server.",
        r"JavaScript heap out of memory",
        r"Reached heap limit Allocation failed",
    ),
    _rule(
        "out of memory",
        "The step was killed, most likely because the server ran out of memory.",
        "Give the server more memory or swap (sudo dmesg | grep -i oom tells), or build on another server.",
        r"Cannot allocate memory",
        r"Out of memory: Killed",
        r"OOMKilled",
        r"^Killed$",
        r"ran out of memory\.",
        codes=(137, -9),
    ),
    _rule(
        "took too long",
        "The step took longer than it may and was ended.",
        "Look at its last line: it may have waited for an answer that nobody gives. Otherwise allow it more time.",
        r"It took too long and was ended",
        r"The process [^\n]{1,300} exceeded the timeout",
        codes=(124,),
    ),
    # --- what is missing on the server ---
    _rule(
        "composer missing",
        "Composer is not installed on the server.",
        "Install it there: apt-get install composer (or as getcomposer.org says).",
        r"\bcomposer: (command )?not found",
        r"composer is not installed",
    ),
    _rule(
        "npm missing",
        "Node.js or its package manager is not installed on the server.",
        "Install it there: apt-get install nodejs npm; yarn and pnpm come with corepack enable.",
        r"\b(npm|npx|node|yarn|pnpm|corepack): (command )?not found",
        r"(npm|node|yarn|pnpm) is not installed",
    ),
    _rule(
        "docker missing",
        "Docker does not answer the user that the panel logs in as.",
        "Start it (systemctl start docker), and let the user use it: sudo usermod -aG docker with the user's name.",
        r"Cannot connect to the Docker daemon",
        r"permission denied while trying to connect to the Docker",
        r"\bdocker: (command )?not found",
    ),
    _rule(
        "program missing",
        "A program that the step needs is not installed on the server.",
        "Install it there, or change the command in the settings of the environment.",
        r"\b[\w.-]{1,60}: command not found",
        r"sh: \d{1,6}: [\w./-]{1,200}: not found",
        r"is not installed on \S+\.",
        codes=(127,),
    ),
    # --- the health check ---
    _rule(
        "health check: server error",
        "The new release answers the health check with a server error.",
        "Look at the application's own log; most often a variable, a migration or a write permission is missing.",
        _ANSWERED + r"5\d\d ",
    ),
    _rule(
        "health check: refused",
        "Nothing answers where the health check asks.",
        "Check that the application and its web server run, and the address and port of the health check.",
        _ANSWERED + r"no answer: [^\n]{0,300}(Failed to connect|Connection refused|Couldn't connect)",
    ),
    _rule(
        "health check: timeout",
        "The health check got no answer in time.",
        "See whether the first request is slow (cold caches, a missing index), or allow more time in the settings.",
        _ANSWERED + r"no answer: [^\n]{0,300}(timed out|timeout)",
    ),
    _rule(
        "health check: other answer",
        "The application answers the health check otherwise than it should.",
        "Open the address yourself; correct the page, or the status and text that the check wants in the settings.",
        r"The health check failed:",
    ),
    # --- databases ---
    _rule(
        "database refused the login",
        "The database does not take the user or the password.",
        "Compare DATABASE_URL or the DB_ variables of this environment with the database's user.",
        r"Access denied for user '[^\n']*'@",
        r"password authentication failed for user",
        r"SQLSTATE\[(28P01|28000)\]",
        r"\[1045\]",
    ),
    _rule(
        "database away",
        "The database does not answer where the application looks for it.",
        "Check that it runs, and host and port in the environment's variables.",
        r"SQLSTATE\[HY000\] \[200[2356]\]",
        r"SQLSTATE\[08006\]",
        r"connection to server at [^\n]{1,300} failed",
        r"could not connect to server",
        r"Can't connect to (local )?(MySQL|MariaDB) server",
        r"ECONNREFUSED [^\n]{1,80}:(3306|5432|27017)",
    ),
    _rule(
        "migrations failed",
        "A migration of the database failed.",
        "Read the database's message in the log, and look what of it was done already before you deploy again.",
        r"SQLSTATE\[\w{5}\]",
        r"django\.db\.utils\.\w+",
        r"(relation|table|column) [\"'`]?[\w.]{1,100}[\"'`]? already exists",
        r"Migration [^\n]{1,200} failed",
    ),
    # --- dependencies ---
    _rule(
        "lock file outdated",
        "The lock file does not fit the list of dependencies.",
        "Run composer update --lock or npm install at home, commit the lock file, push and deploy.",
        r"lock file is not up to date",
        r"Your lock file does not contain a compatible set of packages",
        r"package\.json and package-lock\.json[^\n]{0,300} (are not )?in sync",
        r"ERR_PNPM_OUTDATED_LOCKFILE",
        r"The lockfile would have been modified by this install",
    ),
    _rule(
        "version too old",
        "The server has not the version or extension that a dependency asks for.",
        "Install the version that is named in the log, or choose another one in the recipe's options.",
        r"your php version \([^\n)]{0,80}\) does not satisfy",
        r"requires? (the )?(PHP extension )?ext-\w+[^\n]{0,300}(missing|not (loaded|installed))",
        r"requested PHP extension \S+ (is missing|to be installed)",
        r"EBADENGINE|The engine \"node\" is incompatible|Unsupported engine",
        r"requires a different Python",
    ),
    _rule(
        "package registry",
        "Packages could not be fetched from their registry.",
        "Most often it passes: deploy again. Otherwise check DNS, the firewall and the registry's token on the server.",
        r"npm (ERR!|error) (network|code (E401|E403|E404|ETIMEDOUT|ECONNRESET|ENOTFOUND|EAI_AGAIN))",
        r"curl error \d+ while downloading",
        r"toomanyrequests|429 Too Many Requests",
        r"(pull access denied|manifest unknown|manifest for [^\n]{1,300} not found)",
        r"Could not find a version that satisfies the requirement",
        r"Temporary failure in name resolution|Could not resolve host|EAI_AGAIN|cannot reach the repository's host",
    ),
    # --- what the application needs ---
    _rule(
        "variable missing",
        "A variable that the application needs is not set.",
        "Set it among the environment's variables, and deploy again.",
        r"No application encryption key has been specified",
        r"MissingAppKeyException",
        r"Environment variable not found",
        r"Required variables? (is|are) (missing|not set)",
        r"required by \.env\.example and not set",
        r"KeyError: '[A-Z][A-Z0-9_]+'",
        r"SECRET_KEY (setting )?must not be empty",
    ),
    _rule(
        "port taken",
        "The port is taken by something else on the server.",
        "Stop what listens there (sudo ss -ltnp), or choose another port in the settings of the environment.",
        r"EADDRINUSE|Address already in use|port is already allocated",
        r"Port \d+ of [^\n]{1,300} is taken by",
    ),
    _rule(
        "sudo",
        "The user that the panel logs in as may not do this with sudo.",
        "Allow exactly this command in /etc/sudoers.d; the log names the line.",
        r"sudo: a password is required",
        r"may not (re)?(start|load|stop) \S+\. Allow it",
        r"is not in the sudoers file|not allowed to execute",
    ),
    _rule(
        "permission denied",
        "A file or folder belongs to another user, or must not be written.",
        "Give the folder to the user that the panel logs in as (sudo chown -R), and look what else writes there.",
        r"Permission denied",
        r"EACCES|EPERM",
        r"Operation not permitted",
        r"Read-only file system",
        r"may not write|cannot be made or written",
        codes=(126,),
    ),
    _rule(
        "nginx refused",
        "nginx does not take its configuration.",
        "Run sudo nginx -t on the server and mend what it names; it may be another site's file.",
        r"nginx: \[emerg\]",
    ),
    _rule(
        "service did not start",
        "A service does not come up with the new release.",
        "Read its log on the server: journalctl -u with the name of the unit.",
        r"did not come up",
        r"start-limit-hit",
        r"Job for \S+ failed because",
    ),
    # --- the code ---
    _rule(
        "code does not build",
        "The code of this commit does not compile or load.",
        "Build it at home at this very commit; often a file is missing in the commit, or its name differs in case.",
        r"error TS\d+:",
        r"Module not found|Cannot find module|Could not resolve \"",
        r"Failed to compile|Build failed with \d+ error",
        r"PHP (Parse|Fatal) error|Class \"[^\n\"]{1,200}\" not found",
        r"SyntaxError|ModuleNotFoundError|ImportError",
    ),
    _rule(
        "interrupted",
        "The server restarted, or somebody ended the step, while it ran.",
        "Look at uptime and the server's journal; deploy again when it is well.",
        r"the run was interrupted during",
    ),
)
"""In the order in which they are asked."""
