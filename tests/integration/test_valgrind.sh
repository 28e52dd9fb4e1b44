#!/usr/bin/env bash
# One cycle of the daemon under valgrind's memcheck: mount, archive by trigger, read, verify, restore
# by cp, end. No invalid access, no use of what was never set, nothing lost.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
command -v valgrind >/dev/null || skip_all "valgrind is not installed; scripts/setup installs it"
program=${AMBERFS:?names the amberfs program}
cat >"$T/amberfs" <<END
#!/bin/sh
exec valgrind --quiet --leak-check=full --errors-for-leak-kinds=definite,indirect \
    --log-file=$T/valgrind.%p $program "\$@"
END
chmod +x "$T/amberfs"
AMBERFS=$T/amberfs
. "$here/../lib/mount.sh"
. "$here/../lib/small_job.sh"

test_cycle_is_clean() {
    local name
    mount_start || return
    run_job ev
    assert_match "result" '^state: ok$' "$result"
    for name in "$MNT"/ev/*.json "$MNT"/evc/*.json; do
        gunzip -c "$STORE/${name#"$MNT"/}.gz" >"$T/want"
        assert_same "$name" "$T/want" "$name"
        assert_same ".raw" "$STORE/${name#"$MNT"/}.gz" "$MNT/.raw/${name#"$MNT"/}.gz"
    done
    jq -e '.jobs[0].name == "ev"' "$MNT/.status" >/dev/null || fail "no .status"
    grep -q amberfs_ "$MNT/.metrics" || fail "no .metrics"
    echo --all >"$MNT/.control/verify"
    assert_match "verify" '^damaged: 0$' "$(cat "$MNT/.control/wait/verify")"
    for name in "$MNT"/ev/*.json "$MNT"/evc/*.json; do
        assert_status 0 cp "$name" "$MNT/.restore/"
    done
    mount_stop
    assert_eq "rows that differ" "0 0" "$(sql "
        select (select count(*) from ((table keep.ev except table ev)
                union all (table ev except table keep.ev)) x) || ' ' ||
               (select count(*) from ((table keep.evc except table evc)
                union all (table evc except table keep.evc)) y)")"
    [ "$(find "$T" -name 'valgrind.*' | wc -l)" = 1 ] || fail "valgrind did not run"
    # "--" begins what it says of itself: that it doesn't know openat2, for which we have another way.
    assert_eq "what valgrind says" "" "$(grep -v '^--' "$T"/valgrind.*)"
}

pg_start
make_small_job 4
tap_run test_cycle_is_clean
