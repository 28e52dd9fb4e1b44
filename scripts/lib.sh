# shellcheck shell=bash
# What setup, test and demo share: where the project is, how they talk, and how they build.
# Sourced, not run. Sets `root`, the project's folder, and leaves the working folder alone.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=tests/lib/pg.sh
. "$root/tests/lib/pg.sh" # pg_bindir, pg_start, pg_stop

# shellcheck disable=SC2034 # used by those who source this
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    c_step=$'\e[1;36m' c_cmd=$'\e[32m' c_bad=$'\e[1;31m' c_dim=$'\e[2m' c_off=$'\e[0m'
else
    c_step='' c_cmd='' c_bad='' c_dim='' c_off=''
fi

# say TEXT: what happens next, one line.
say() { printf '%s%s%s\n' "$c_step" "$*" "$c_off"; }
# note TEXT: something beside the way.
note() { printf '%s%s%s\n' "$c_dim" "$*" "$c_off"; }
# die TEXT: say why on stderr and end with status 1.
die() {
    printf '%s%s: %s%s\n' "$c_bad" "${0##*/}" "$*" "$c_off" >&2
    exit 1
}

# TMPDIR if it will do, else /tmp: a unix socket's path has at most 107 bytes, and the tables of mounts
# write blanks and the like in a way of their own.
plain_tmpdir() {
    local tmp=${TMPDIR:-/tmp}
    if [[ $tmp =~ ^/[A-Za-z0-9._/+-]{1,39}$ ]] && [ -w "$tmp" ]; then
        printf '%s\n' "$tmp"
    else
        echo /tmp
    fi
}

# The system's programs themselves before Debian's wrapper of psql and shims of somebody's python, which
# take longer than what tests ask of them, thousands of times.
plain_path() { printf '%s\n' "$(pg_bindir):/usr/sbin:/usr/bin:/sbin:/bin:$PATH"; }

# Files that root makes in somebody's checkout go to its owner, so that the owner can go on there.
give_back() {
    if [ "$(id -u)" = 0 ] && [ "$(stat -c %u "$root")" != 0 ]; then
        chown -R --reference="$root" -- "$@"
    fi
}

# build_in NAME TARGETS MESON_ARGUMENTS...: configure once, then compile the targets ('' for all of
# them). Prints the folder on stdout and
# everything else on stderr; two at once wait for each other. A folder below the checkout; where
# that can't be written, below $AMBER_BUILD_TOP, which the caller has made.
build_in() {
    local name=$1 targets=$2 dir
    shift 2
    if [ -w "$root" ] && { [ ! -e "$root/build" ] || [ -w "$root/build" ]; }; then
        dir=$root/build/$name
    else
        dir=${AMBER_BUILD_TOP:?}/build-$name
    fi
    (
        flock 9
        # A folder configured for other options, by another meson or in a checkout that has moved
        # since is made anew.
        wanted="$(meson --version) ${CC:-cc} $root $*"
        if [ "$wanted" != "$(cat "$dir/.configured" 2>/dev/null)" ]; then
            rm -rf "$dir"
            meson setup "$dir" "$root" "$@" || exit 1
            printf '%s\n' "$wanted" >"$dir/.configured"
        fi
        # shellcheck disable=SC2086 # several words
        ninja -C "$dir" $targets
        status=$?
        [ -d "$root/build" ] && give_back "$root/build"
        exit $status
    ) 9<"$root/meson.build" >&2 || return 1
    printf '%s\n' "$dir"
}
