# shellcheck shell=bash
# What the kill matrix knows of archives in a bucket: what goes wrong on the way to the server and in
# it. The daemon speaks to it through tests/lib/s3_proxy.c, the checker doesn't. What doesn't pass by
# itself lasts until the daemon gives a unit up to try it anew (which it does soon, then), or the job
# has ended.

: "${S3_PROXY:?names the proxy of tests/lib/s3_proxy.c}"
matrix_put_steps=(put-complete) # of job kind large with codec none alone
matrix_foreign_steps='(`[a-z-]+`, )*`[a-z-]+` \(a folder\), '
matrix_operations=(send)
matrix_store_faults=(dead gone bounce hang busy torn mute spoil)

matrix_store_begin() { s3_proxy_start; }
matrix_arm_store() { # FAULT
    case $1 in dead | gone | hang | torn | mute) variables+=(ARCHIVAL_S3_TIMEOUT=2) ;; esac
}
matrix_store_wait() { # FAULT
    case $1 in dead | hang | torn | mute) ;; *) return ;; esac
    { grep -qm 1 'trying again' "$MNT/.control/follow" && echo again >&"$said"; } 2>/dev/null &
    step_wait # or until it says "ended"
}
# The proxy sees requests that meet its faults, and those alone.
matrix_store_struck() { # FAULT
    case $1 in
    hang | torn) [ "$(s3_requests " $1 ")" -gt 0 ] ;;
    busy) [ "$(s3_requests ' answer ')" -gt 0 ] ;;
    mute) [ "$(s3_requests ' lose ')" -gt 0 ] ;;
    esac
}
matrix_store_left() { s3 uploads archives/ </dev/null | sed 's/^/an upload that nobody ends: /'; }

# The server's process is killed; it is back soon, only when the job has ended, or at once.
server_start() { "$s3_server" start "$T/s3" >/dev/null || fail "the S3 server doesn't start again"; }
strike_dead() { "$s3_server" kill "$T/s3"; }
heal_dead() { server_start; }
strike_gone() { strike_dead; }
heal_gone() { server_start; }
strike_bounce() { strike_dead && server_start; }
# No request is answered.
strike_hang() { strike_rules '* * 1 0 hang'; }
heal_hang() { s3_fault; }
# The server is overloaded, for some requests long.
strike_busy() { strike_rules '* * 1 6 answer 503 SlowDown'; }
heal_busy() { s3_fault; }
# Of whatever is sent up, half comes through, and then the connection is gone.
strike_torn() { strike_rules 'PUT * 1 0 torn' 'POST * 1 0 torn'; }
heal_torn() { s3_fault; }
# Whatever is sent up is taken, and nobody learns so.
strike_mute() { strike_rules 'PUT * 1 0 lose' 'POST * 1 0 lose'; }
heal_mute() { s3_fault; }
strike_rules() {
    : >"$S3_LOG"
    s3_fault "$@"
}
# All archives vanish, with what belongs to them.
strike_remove() {
    local keys
    mapfile -t keys < <(store_keys | grep -vx .amberfs/store.json)
    [ ${#keys[@]} = 0 ] || store_remove "${keys[@]}"
}
# The newest archive's bytes aren't those that were sent up. (Who spoils them behind the proof, spoils
# the only copy: that is for archive-durable and manifest-durable, in the first unit.)
strike_spoil() {
    local key
    key=$(store_keys | grep -v '^\.amberfs/' | tail -n 1)
    store_cat "$key" >"$T/spoilt"
    printf 'spoilt' | dd of="$T/spoilt" bs=1 seek=90 conv=notrunc status=none
    store_put "$key" <"$T/spoilt"
}
