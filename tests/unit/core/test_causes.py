# ruff: noqa: E501 - words as they were printed
"""What failed deployments said, word for word, and the cause that is told for it."""

from __future__ import annotations

import time

import pytest

from devflow.core.causes import RULES, likely_cause

SAID: list[tuple[str, str, int | None, str]] = [
    # cause, step, exit code, text
    ("host key changed", "", None, "web-1 shows another host key than the pinned one; somebody may be in between, or the server was reinstalled. Nothing was sent."),
    ("host key changed", "fetch", 128, "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.\nfatal: Could not read from remote repository."),
    ("login refused", "", None, "web-1 refused the login as deploy. Put the server's public key (shown on its page) into ~deploy/.ssh/authorized_keys there."),
    ("server away", "", None, "web-1 cannot be reached: no answer from 203.0.113.7:22 in 10 s. Is it up, and the firewall open?"),
    ("server away", "", None, "web-1: the connection was lost (Connection reset by peer)"),
    ("lock held", "lock", 1, "/srv/www/shop on web-1 is locked by another deployment: shop production. Two environments or panels must not share a folder"),
    ("folder of another", "lock", 1, "/srv/www/shop on web-1 is another environment's folder: 0190, of this panel or another, deploys there, and not 0191."),
    ("disk full", "npm ci", 228, "npm ERR! code ENOSPC\nnpm ERR! syscall write\nnpm ERR! nospc ENOSPC: no space left on device, write"),
    ("disk full", "check server", 1, "Only 83 MB are free in / on web-1; a deployment needs 200 MB at least. Free some space and deploy again."),
    ("repository refused", "fetch", 1, "The repository refused web-1. Add the project's deploy key to the repository (read access is enough), or check its address."),
    ("repository refused", "fetch", 128, "git@github.com: Permission denied (publickey).\nfatal: Could not read from remote repository."),
    ("repository missing", "fetch", 128, "ERROR: Repository not found.\nfatal: Could not read from remote repository."),
    ("branch missing", "fetch", 1, "The repository has no branch 'realease' (an empty repository has none at all). Push the branch, or set another one"),
    ("commit missing", "fetch", 1, "There is no commit 0123456789abcdef0123456789abcdef01234567 in the repository. Push it first, or choose another."),
    ("php memory limit", "cache config", 255, "PHP Fatal error:  Allowed memory size of 134217728 bytes exhausted (tried to allocate 20480 bytes) in /srv/x.php on line 52"),
    ("node heap", "npm run build", 134, "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n 1: 0xb090e0 node::Abort() [node]\nAborted (core dumped)"),
    ("out of memory", "npm run build", 137, "> shop@1.0.0 build\n> vite build\ntransforming (1204) node_modules/lodash/lodash.js"),
    ("out of memory", "composer install", 1, "The following exception is caused by a lack of memory or swap\nproc_open(): fork failed - Cannot allocate memory"),
    ("took too long", "php artisan search:index", 124, "web-1: step 'php artisan search:index' failed with exit code 124: Indexing 14%"),
    ("composer missing", "composer install", 127, "sh: 41: composer: not found"),
    ("npm missing", "npm ci", 127, "/home/deploy/.devflow/runs/x/script: 77: npm: not found"),
    ("npm missing", "npm run build", 127, "bash: line 1: node: command not found"),
    ("docker missing", "docker build", 1, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"),
    ("program missing", "after activate 1", 127, "sh: 12: wkhtmltopdf: not found"),
    ("program missing", "check server", 1, "git is not installed on web-1. Install it there: apt-get install git"),
    ("health check: server error", "health check", 1, "The health check failed: http://127.0.0.1/up answered 500 in 0.184312 s; wanted 200. Look at the application's log on web-1"),
    ("health check: refused", "health check", 1, "The health check failed: http://127.0.0.1:8001/ answered no answer: curl: (7) Failed to connect to 127.0.0.1 port 8001 after 0 ms: Couldn't connect to server; wanted 200."),
    ("health check: timeout", "health check", 1, "The health check failed: https://shop.example.com/up answered no answer: curl: (28) Operation timed out after 10001 milliseconds with 0 bytes received; wanted 200."),
    ("health check: other answer", "health check", 1, "The health check failed: http://127.0.0.1/ answered 403 in 0.000412 s; wanted 200. Look at the application's log on web-1"),
    ("health check: other answer", "health check", 1, "The health check failed: http://127.0.0.1/ answered 200 in 0.01 s, without the text 'ready'; wanted 200."),
    ("database refused the login", "php artisan migrate", 1, "SQLSTATE[HY000] [1045] Access denied for user 'shop'@'localhost' (using password: YES)"),
    ("database refused the login", "python manage.py migrate", 1, 'psycopg.OperationalError: connection failed: FATAL:  password authentication failed for user "shop"'),
    ("database away", "php artisan migrate", 1, "SQLSTATE[HY000] [2002] Connection refused (Connection: mysql, SQL: select exists (select 1 from information_schema.tables"),
    ("database away", "python manage.py migrate", 1, 'connection to server at "10.0.0.5", port 5432 failed: Connection refused\n\tIs the server running on that host'),
    ("migrations failed", "php artisan migrate", 1, "2026_11_20_101500_add_price ......... 12ms FAIL\nSQLSTATE[42S21]: Column already exists: 1060 Duplicate column name 'price'"),
    ("migrations failed", "python manage.py migrate", 1, 'django.db.utils.ProgrammingError: relation "cart_item" already exists'),
    ("lock file outdated", "npm ci", 1, "npm ERR! `npm ci` can only install packages when your package.json and package-lock.json or npm-shrinkwrap.json are in sync."),
    ("lock file outdated", "composer install", 4, "Your lock file does not contain a compatible set of packages. Please run composer update."),
    ("version too old", "composer install", 2, "    - laravel/framework v11.0 requires php ^8.2 -> your php version (8.1.2) does not satisfy that requirement."),
    ("version too old", "composer install", 2, "- Root composer.json requires PHP extension ext-intl * but it is missing from your system. Install or enable PHP's intl extension."),
    ("package registry", "npm ci", 1, "npm ERR! code ETIMEDOUT\nnpm ERR! network request to https://npm.example.org/lodash failed"),
    ("package registry", "composer install", 100, "curl error 28 while downloading https://repo.packagist.org/packages.json: Connection timed out"),
    ("variable missing", "health check", 1, "production.ERROR: No application encryption key has been specified. {\"exception\":\"[object] (Illuminate"),
    ("variable missing", "collect static", 1, "  File \"config/settings.py\", line 9, in <module>\nKeyError: 'DJANGO_SECRET_KEY'"),
    ("port taken", "start", 1, "Error: listen EADDRINUSE: address already in use :::3000"),
    ("port taken", "start", 1, "Port 8001 of web-1, where the release is to run as blue, is taken by nginx (pid 812). Nothing was changed"),
    ("sudo", "reload php-fpm", 1, "sudo: a password is required"),
    ("sudo", "restart worker", 1, "deploy may not restart shop-worker. Allow it with a line in /etc/sudoers.d: deploy ALL=(root) NOPASSWD: /usr/bin/systemctl restart shop-worker"),
    ("permission denied", "link shared", 1, "ln: failed to create symbolic link '/srv/www/shop/current.next': Permission denied"),
    ("permission denied", "npm ci", 243, "npm ERR! code EACCES\nnpm ERR! syscall mkdir\nnpm ERR! path /srv/www/shop/node_modules"),
    ("permission denied", "after activate 1", 126, "sh: 3: ./bin/warm: cannot execute"),
    ("nginx refused", "nginx", 1, "nginx: [emerg] duplicate listen options for [::]:443 in /etc/nginx/sites-enabled/blog:4"),
    ("service did not start", "restart worker", 1, "shop-worker did not come up: it is failed (failed, exit status 1). Its log: journalctl --user -u shop-worker"),
    ("code does not build", "npm run build", 2, "src/cart.ts(14,7): error TS2322: Type 'string' is not assignable to type 'number'."),
    ("code does not build", "npm run build", 1, "[vite]: Rollup failed to resolve import\nModule not found: Error: Can't resolve './Cart'"),
    ("interrupted", "composer install", None, "web-1: the run was interrupted during 'composer install': it was killed, or the server restarted"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "step", "exit_code", "text"), SAID, ids=[f"{each[0]}-{n}" for n, each in enumerate(SAID)]
)
def test_the_cause_of_real_words(name: str, step: str, exit_code: int | None, text: str) -> None:
    for said in (
        {"error": text},
        {"error": "", "lines": text.splitlines()},
        {"error": text.replace("e", "\x1b[31me\x1b[0m")},
    ):
        cause = likely_cause(step=step, exit_code=exit_code, **said)  # type: ignore[arg-type]
        assert cause, said
        assert cause.name == name


def test_every_rule_has_words_that_it_is_told_for() -> None:
    assert {rule.cause.name for rule in RULES} == {name for name, *_ in SAID}
    assert all(rule.cause.likely.endswith(".") and len(rule.cause.next_step) > 20 for rule in RULES)


@pytest.mark.parametrize(
    ("step", "exit_code", "text"),
    [
        ("phpunit", 1, "FAILURES!\nTests: 214, Assertions: 900, Failures: 1."),
        ("before activate 1", 3, "web-1: step 'before activate 1' failed with exit code 3: it does not look right"),
        ("", None, ""),
    ],
)
def test_what_no_rule_knows_is_not_guessed(step: str, exit_code: int | None, text: str) -> None:
    assert likely_cause(error=text, step=step, exit_code=exit_code) is None


def test_words_made_to_keep_the_rules_busy_do_not() -> None:
    began = time.perf_counter()
    for bait in (
        "The health check failed: x answered no answer: ",
        "requires ext-a",
        "package.json and package-lock.json",
        "a.b-c",
    ):
        likely_cause(error="", lines=[bait * 50_000, "\x1b[" * 50_000])
    assert time.perf_counter() - began < 4
