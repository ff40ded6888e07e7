# laravel.sh ROOT REPOSITORY BRANCH KEEP - a Laravel deployment as a careful person writes it: everything installed each time.
set -eu
root=$1 repository=$2 branch=$3 keep=$4
mirror=$root/repo.git
release=$(date -u +%Y%m%d%H%M%S.%N)
path=$root/releases/$release

mkdir -p "$root/releases" "$root/shared/storage"
mkdir "$root/lock" || { echo "$root is locked: a deployment is under way" >&2; exit 1; }
trap 'rmdir "$root/lock"' EXIT

[ -d "$mirror" ] || git init -q --bare "$mirror"
git -C "$mirror" fetch -q --no-tags --force "$repository" "+refs/heads/$branch:refs/heads/$branch"
commit=$(git -C "$mirror" rev-parse --verify "refs/heads/$branch^{commit}")
echo "Deploying $commit"

mkdir "$path"
git -C "$mirror" archive "$commit" | tar -x -C "$path"
echo "$commit" >"$path/REVISION"
cd "$path"
[ -d "$root/shared/storage/framework" ] || cp -a storage/. "$root/shared/storage/"
rm -rf storage
ln -s "$root/shared/storage" storage
ln -s "$root/shared/.env" .env

composer install --no-dev --optimize-autoloader --no-interaction --no-progress
npm ci --no-audit --no-fund
npm run build
php artisan migrate --force
php artisan config:cache
php artisan route:cache
php artisan view:cache

ln -s "releases/$release" "$root/current.next"
mv -T "$root/current.next" "$root/current"
php artisan queue:restart

set -- "$root"/releases/*/
while [ $# -gt "$keep" ]; do
    rm -rf "$1"
    shift
done
echo "Release $release serves"
