"""Multi-tenant Laravel: Laravel's tasks, then the tenants' migrations and caches.

By default one command migrates all tenants. With a command per tenant (`tenant_command`) they are migrated one by one:
a tenant that fails is named, the others are migrated, and `on_tenant_failure` says what becomes of the deployment.
"""

from __future__ import annotations

from devflow.engine.task import Option, Phase, Recipe, Task, Where
from devflow.recipes import javascript, laravel
from devflow.recipes.common import COMPOSER_INSTALL, NEEDS_CARE, REPEATED, composer_requires
from devflow.recipes.laravel import warm

TENANTS_COMMAND = Option(
    name="tenants_command",
    title="List of tenants",
    help="Prints one tenant a line; of lines like '[Tenant] id: acme @ acme.example.com' the id is taken.",
    default="php artisan tenants:list",
)
TENANT_COMMAND = Option(
    name="tenant_command",
    title="Migration of one tenant",
    help="With {tenant} where its name belongs: php artisan tenants:migrate --force --tenants={tenant}. "
    "Empty: one command migrates all of them, and nothing is known of each.",
    pattern=r"(.*\{tenant\}.*)?",
)
ON_TENANT_FAILURE = Option(
    name="on_tenant_failure",
    title="When a tenant fails",
    help="fail: the others are migrated, then the deployment fails and the release before goes on serving. "
    "continue: the deployment goes on; the log names the tenants that failed.",
    default="fail",
    choices=("fail", "continue"),
)


def _has(command: str) -> str:
    return f"php artisan help {command} >/dev/null 2>&1"


_HAS_TENANTS_OPTION = "php artisan help {} 2>/dev/null | grep -q -e --tenants"
_ALL_AT_ONCE = '[ -z "$option_tenant_command" ]'

# Names are taken as they are into the command, so only those that mean nothing to a shell are.
EACH_TENANT = """\
list=$(mktemp)
trap 'rm -f "$list"' EXIT
sh -ec "$option_tenants_command" >"$list" || { cat "$list"; echo "The list of tenants could not be read"; exit 1; }
total=0 failed=0 names=''
while IFS= read -r line || [ -n "$line" ]; do
  tenant=$(printf '%s\\n' "$line" | sed 's/^ *\\[Tenant\\] id: *\\([^ ]*\\).*/\\1/; s/^[[:space:]]*//; s/[[:space:]]*$//')
  case $tenant in
    '') continue ;;
    *' '*|-*|*[!A-Za-z0-9._@:-]*) printf 'No tenant: %s\\n' "$line"; continue ;;
  esac
  total=$((total + 1))
  command=$(printf '%s\\n' "$option_tenant_command" | sed "s/{tenant}/$tenant/g")
  code=0
  sh -ec "$command" </dev/null || code=$?
  if [ "$code" = 0 ]; then
    echo "Tenant $tenant: migrated"
  else
    echo "Tenant $tenant: FAILED with exit code $code"
    failed=$((failed + 1))
    if [ "$failed" -le 5 ]; then names="$names${names:+, }$tenant"; fi
  fi
done <"$list"
if [ "$failed" -gt 5 ]; then names="$names and $((failed - 5)) more"; fi
if [ "$total" = 0 ]; then printf 'No tenant was found by: %s\\n' "$option_tenants_command"; fi
if [ "$failed" = 0 ]; then echo "All $total tenants are migrated"; exit 0; fi
echo "$failed of $total tenants failed, the others are migrated: $names"
[ "$option_on_tenant_failure" = continue ]"""

RECIPE = Recipe(
    name="tenants",
    title="Laravel with tenants",
    detect=lambda tree: (
        "artisan" in tree.files and composer_requires(tree, ["stancl/tenancy", "spatie/laravel-multitenancy"])
    ),
    tasks=(
        laravel.STORAGE_FOLDERS,
        COMPOSER_INSTALL,
        *javascript.INSTALL,
        *javascript.BUILD,
        laravel.STORAGE_LINK,
        laravel.MIGRATE,
        Task(
            name="artisan migrate:tenants",
            phase=Phase.MIGRATE,
            command="php artisan migrate:tenants --force",
            condition=f"{_ALL_AT_ONCE} && {{ {_has('migrate:tenants')} || ! {_has('tenants:migrate')}; }}",
            where=Where.FIRST,
            undo=NEEDS_CARE,
        ),
        Task(
            name="artisan tenants:migrate",
            phase=Phase.MIGRATE,
            command="php artisan tenants:migrate --force",
            condition=f"{_ALL_AT_ONCE} && {_has('tenants:migrate')} && ! {_has('migrate:tenants')}",
            where=Where.FIRST,
            undo=NEEDS_CARE,
        ),
        Task(
            name="migrate each tenant",
            phase=Phase.MIGRATE,
            command=EACH_TENANT,
            condition='[ -n "$option_tenant_command" ]',
            where=Where.FIRST,
            undo=NEEDS_CARE,
            summary="the migration of each tenant that the list names, one after the other",
        ),
        warm("config:cache --tenants", condition=_HAS_TENANTS_OPTION.format("config:cache")),
        warm("config:cache", condition="! " + _HAS_TENANTS_OPTION.format("config:cache")),
        warm("route:cache"),
        warm("view:cache"),
        Task(
            name="artisan cache:clear --tenants",
            phase=Phase.RELOAD,
            command="php artisan cache:clear --tenants",
            condition=_HAS_TENANTS_OPTION.format("cache:clear"),
            undo=REPEATED,
        ),
        *laravel.RESTART,
    ),
    shared_files=laravel.RECIPE.shared_files,
    shared_folders=laravel.RECIPE.shared_folders,
    options=(*laravel.RECIPE.options, TENANTS_COMMAND, TENANT_COMMAND, ON_TENANT_FAILURE),
    tools=laravel.RECIPE.tools,
)
