# shellcheck shell=bash
# What the kill matrix knows of archives in a folder: the faults of files and disks.

matrix_put_steps=(put-fsync put-link put-linked)
matrix_foreign_steps='`[a-z-]+` \(S3\)'
matrix_operations=(write fsync rename mkdir read send)
matrix_store_faults=(full short write fsync rename)

matrix_store_begin() {
    mkdir "$T/disk"
    full_disk=preload
    # Without the right to mount, the n-th write fails for want of space instead.
    if mount -t tmpfs -o size=32m amberfs-test "$T/disk" 2>/dev/null; then
        full_disk=real
        at_exit "umount -l $T/disk 2>/dev/null"
    fi
    STORE=$T/disk/store
}
matrix_arm_store() { # FAULT
    case $1 in
    short) wish="write:0:SHORT" ;;
    write | fsync | rename) wish="$1:1:EIO+" ;;
    full) [ $full_disk = real ] || wish="write:1:ENOSPC+" ;;
    esac
}
matrix_store_wait() { :; }
matrix_store_struck() { :; }
matrix_store_left() { :; }

gate_open() { : >"$T/gate"; }
gate_shut() { rm -f "$T/gate"; }
# The disk is full to the last byte.
strike_full() {
    gate_open
    [ $full_disk = preload ] || cat /dev/zero >"$T/disk/filler" 2>/dev/null
}
heal_full() {
    rm -f "$T/disk/filler"
    gate_shut
}
# Each write takes half of its bytes; all writes, fsyncs or renames fail.
strike_short() { gate_open; }
heal_short() { gate_shut; }
strike_write() { gate_open; }
heal_write() { gate_shut; }
strike_fsync() { gate_open; }
heal_fsync() { gate_shut; }
strike_rename() { gate_open; }
heal_rename() { gate_shut; }
# The store's folder goes with all that is in it, and comes back empty.
strike_remove() { rm -rf "${STORE:?}"; }
heal_remove() { mkdir "$STORE"; }
