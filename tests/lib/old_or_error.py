"""old_or_error.py FD FILE: what the open descriptor FD reads anew, past the page cache, is FILE's
text or an error; status 1 where it is something else.
"""
import os
import sys

fd, want = int(sys.argv[1]), open(sys.argv[2], "rb").read()
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
for off in range(0, len(want), 100000):
    try:
        if os.pread(fd, 1000, off) != want[off:off + 1000]:
            sys.exit(1)
    except OSError:
        pass
