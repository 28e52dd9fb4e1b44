/*
 * jobs_builtin.S - docs/jobs.json, byte for byte, between two symbols. AMBER_JOBS_JSON is its path.
 */
    .section .rodata
    .global amber_jobs_json
    .hidden amber_jobs_json
amber_jobs_json:
    .incbin AMBER_JOBS_JSON
    .global amber_jobs_json_end
    .hidden amber_jobs_json_end
amber_jobs_json_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
