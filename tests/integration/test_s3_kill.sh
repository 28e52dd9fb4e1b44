#!/usr/bin/env bash
# The kill matrix with archives in S3, in its short form: SIGKILL at the steps that touch the bucket
# and around COMMIT, uploads in parts, and what only a server and the way to it do wrong, where the
# next request is of another kind. Single faults that pass, and those of which none passes from some
# request on, are test_s3_write_faults.sh's; scripts/soak --store s3 runs the whole product.
here=$(cd "$(dirname "$0")" && pwd -P)
STORE_KIND=s3
. "$here/../lib/tap.sh"
. "$here/../lib/kill_matrix.sh"

while read -r point fault kind; do matrix_add "$point" "$fault" "$kind"; done <<'LIST'
export-done kill
archive-durable:2 kill
manifest-durable kill
commit-before kill
commit-after kill
committed kill
put-complete kill large
put-complete overtake large
put-complete dead large
put-complete torn large
put-complete mute large
export-leaf torn large
recorded overtake
committed overtake
delete-table crash
recorded drop
proof-done dead
export-done bounce
committed hang
export-done busy
export-done torn
archive-durable mute
committed mute
manifest-durable spoil
recorded remove
commit:2 before
commit:2 after
send@120 dead
LIST

matrix_run 120
