# shellcheck shell=bash
# Where a test's archives are, seen past the program: a local folder, or a bucket of a real S3 server
# if the test file was started with STORE_KIND=s3. Sourced by mount.sh and small_job.sh.
#
#   store_env          the configuration's lines for it
#   store_list [PREFIX]  "SIZE KEY" lines, byte-sorted: all objects whose keys begin so
#   store_cat KEY...   their bytes, one behind the other
#   store_put KEY      an object from stdin; store_remove KEY...
#   store_make         there, and empty
#   store_keys [PREFIX]  the keys alone
#   store_fetch        $STORE is it, or a copy of it as it is now

lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
STORE=$T/store # the local folder

store_keys() { store_list "$@" | sed 's/^[0-9]* //'; }

case ${STORE_KIND:=local} in
local)
    store_env() { echo "ARCHIVAL_PATH=$STORE"; }
    store_list() {
        find "$STORE" -type f -printf '%s %P\n' |
            awk -v prefix="${1:-}" 'index(substr($0, index($0, " ") + 1), prefix) == 1' | LC_ALL=C sort -k 2
    }
    store_cat() { (cd "$STORE" && cat -- "$@"); }
    store_put() { mkdir -p "$STORE/${1%/*}" && cat >"$STORE/$1"; }
    store_remove() { (cd "$STORE" && rm -f -- "$@"); }
    store_make() { rm -rf "${STORE:?}" && mkdir "$STORE"; }
    store_fetch() { :; }
    ;;
s3)
    # shellcheck source=tests/lib/s3.sh
    . "$lib/s3.sh"
    store_env() { s3_env archives; }
    store_list() { s3 list "archives/${1:-}" | sed 's, archives/, ,'; }
    store_cat() { s3 cat "${@/#/archives/}"; }
    store_put() { s3 put "archives/$1"; }
    store_remove() { s3 remove "${@/#/archives/}" </dev/null; }
    store_make() { s3 remove-all archives/ </dev/null; }
    store_fetch() { rm -rf "${STORE:?}" && s3 copy archives/ "$STORE" </dev/null && mkdir -p "$STORE/.amberfs/tmp"; }
    s3_start
    ;;
esac
