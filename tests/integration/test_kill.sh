#!/usr/bin/env bash
# The kill matrix in its short form: SIGKILL at each step of the protocol, every other fault at the
# steps where it hurts most, all job kinds, codecs and ways in turn. scripts/soak runs the whole
# product.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/kill_matrix.sh"

# The steps that the documents name and the sources pass (those of S3 need a server: test_s3*).
test_every_step_is_in_the_matrix() {
    local documented passed
    documented=$(sed -n '/^| step | what happens/,/^$/p' "$here/../../docs/architecture.md" |
        cut -d '|' -f 4 | sed 's/`[a-z-]*` (S3)//g' | grep -oE '`[a-z-]+`' | tr -d '`')
    assert_eq "steps of docs/architecture.md" "$documented" "$(printf '%s\n' "${matrix_steps[@]}")"
    passed=$(cd "$here/../../src" && grep -ohE 'amber_failpoint\("[a-z-]+"' job/*.c pg/*.c store/store_local*.c |
        cut -d '"' -f 2 | grep -vx replica-copied | sort) # behind the commit: test_replicas.sh
    assert_eq "steps of the sources" "$passed" "$(printf '%s\n' "${matrix_steps[@]}" | sort)"
}

cases=()
n=0
codecs=(gzip zstd none)
ways=(polite fast)
add() { # POINT FAULT
    cases+=("${matrix_kinds[n % 4]} $1 $2 ${codecs[n % 3]} ${ways[n / 4 % 2]}")
    n=$((n + 1))
}
for step in "${matrix_steps[@]}"; do add "$step" kill; done
# The second archive, the second unit.
for step in name-reserved:2 put-linked:2 manifest-durable:2 delete-table:2 run-recorded:2 committed:2; do
    add $step kill
done
while read -r point fault; do add "$point" "$fault"; done <<'END'
export-leaf:2 overtake
recorded overtake
commit-after overtake
delete-done rival
unit-begin crash
delete-table crash
commit-before crash
committed crash
export-done away
name-reserved drop
recorded drop
put-fsync full
proof-done full
manifest-durable short
export-leaf write
committed write
put-fsync fsync
put-linked fsync
put-link rename
marker-durable rename
export-done remove
proof-done remove
recorded remove
commit:2 before
commit:1 during
commit:2 after
write@2 kill
rename@2 kill
fsync@4 kill
send@60 kill
END

sliced cases
tests=(test_every_step_is_in_the_matrix)
for i in "${!cases[@]}"; do
    name=test_${cases[i]//[^a-z0-9]/_}
    eval "$name() { matrix_case ${cases[i]}; }"
    tests+=("$name")
done
matrix_begin 120
tap_run "${tests[@]}"
