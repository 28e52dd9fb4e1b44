#!/usr/bin/env bash
# The kill matrix in its short form: SIGKILL at each step of the protocol, every other fault at the
# steps where it hurts most, all job kinds, codecs and ways in turn. scripts/soak runs the whole
# product.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/kill_matrix.sh"

for step in "${matrix_steps[@]}"; do matrix_add "$step" kill; done
# The second archive, the second unit.
for step in name-reserved:2 put-linked:2 manifest-durable:2 delete-table:2 run-recorded:2 committed:2; do
    matrix_add $step kill
done
while read -r point fault; do matrix_add "$point" "$fault"; done <<'END'
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

matrix_run 120
