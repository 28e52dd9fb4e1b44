#!/usr/bin/env python3
"""Wait for a daemon's READY=1 as systemd would.

usage: ready.py SOCKET, before the daemon starts with NOTIFY_SOCKET=SOCKET. Prints "bound" when it
listens, reads the daemon's process id from stdin, then prints "ready" or "ended" and exits.
"""
import os
import select
import socket
import sys

sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)  # as systemd: the daemon may be another user
print("bound", flush=True)
pid = int(sys.stdin.readline())
try:
    ended = os.pidfd_open(pid)
except ProcessLookupError:
    print("ended")
    sys.exit(1)
poll = select.poll()
poll.register(sock, select.POLLIN)
poll.register(ended, select.POLLIN)
while True:
    fds = [fd for fd, _ in poll.poll()]
    if sock.fileno() in fds:
        if b"READY=1" in sock.recv(4096).split(b"\n"):
            print("ready")
            sys.exit(0)
    elif ended in fds:
        print("ended")
        sys.exit(1)
