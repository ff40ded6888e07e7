# by_hand.sh ROOT REPOSITORY BRANCH KEEP SHARED_FILE SHARED_FOLDER BUILD - a deployment as a careful person writes it.
set -eu
root=$1 repository=$2 branch=$3 keep=$4 file=$5 folder=$6 build=$7
mirror=$root/repo.git
release=$(date -u +%Y%m%d%H%M%S.%N)
path=$root/releases/$release

mkdir -p "$root/releases" "$root/shared/$folder"
mkdir "$root/lock" || { echo "$root is locked: a deployment is under way" >&2; exit 1; }
trap 'rmdir "$root/lock"' EXIT

[ -d "$mirror" ] || git init -q --bare "$mirror"
git -C "$mirror" fetch -q --no-tags --force "$repository" "+refs/heads/$branch:refs/heads/$branch"
commit=$(git -C "$mirror" rev-parse --verify "refs/heads/$branch^{commit}")
echo "Deploying $commit"

mkdir "$path"
git -C "$mirror" archive "$commit" | tar -x -C "$path"
echo "$commit" >"$path/REVISION"
rm -rf "${path:?}/$file" "${path:?}/$folder"
ln -s "$root/shared/$file" "$path/$file"
ln -s "$root/shared/$folder" "$path/$folder"
(cd "$path" && sh -ec "$build")

ln -s "releases/$release" "$root/current.next"
mv -T "$root/current.next" "$root/current"

set -- "$root"/releases/*/
while [ $# -gt "$keep" ]; do
    rm -rf "$1"
    shift
done
echo "Release $release serves"
