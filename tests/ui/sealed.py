"""Runs `attune` where it can neither write a file nor reach a network, and tells what it tried.

    python tests/ui/sealed.py REPORT FOLDER chat --port 0

Linux's Landlock (kernel 6.7 or newer) refuses, for this process and all it starts, whatever would
write outside FOLDER, and every TCP connection. What Python itself tries - to open a file for
writing, to connect, to ask for an address - is written to REPORT too, a line of JSON each, and
refused where it would leave this machine.
"""

import ctypes
import ipaddress
import json
import os
import struct
import sys

WRITES = (
    "open",
    "os.mkdir",
    "os.rename",
    "os.link",
    "os.symlink",
    "os.truncate",
    "tempfile.mkstemp",
)
REACHES = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
NO_NEW_PRIVILEGES = 38
PATH_BENEATH = 1
WRITE_FILE, TRUNCATE = 1 << 1, 1 << 14
# write, remove (2), make (7), refer, truncate; see linux/landlock.h
WRITING = WRITE_FILE | sum(1 << bit for bit in range(4, 14)) | TRUNCATE
CONNECT_TCP = 1 << 1
OLDEST_ABI = 4


def seal(folder):
    """Let this process write in a folder alone; return whether this kernel can."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(CREATE_RULESET, None, 0, 1) < OLDEST_ABI:
        return False
    handled = struct.pack("QQ", WRITING, CONNECT_TCP)
    rules = libc.syscall(CREATE_RULESET, handled, len(handled), 0)
    for path, allowed in ((folder, WRITING), ("/dev/null", WRITE_FILE | TRUNCATE)):
        beneath = struct.pack("=Qi", allowed, os.open(path, os.O_PATH))
        assert libc.syscall(ADD_RULE, rules, PATH_BENEATH, beneath, 0) == 0
    assert libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    assert libc.syscall(RESTRICT_SELF, rules, 0) == 0
    return True


def is_loopback(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in (None, "", "localhost", b"localhost")


def watch(report):
    """Note what is written or reached, and refuse to reach anything but this machine."""

    def note(event, what):
        os.write(report, (json.dumps([event, str(what)]) + "\n").encode())

    def hook(event, arguments):
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, bytes)) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                note("write", os.fsdecode(path))
        elif event in WRITES:
            note("write", arguments[0])
        elif event in REACHES:
            address = arguments[-1] if event in REACHES[:2] else arguments[0]
            host = address[0] if isinstance(address, tuple) else address
            if isinstance(address, (tuple, str, bytes)) and not is_loopback(host):
                note("reach", address)
                raise OSError("refused")

    sys.addaudithook(hook)


if __name__ == "__main__":
    _, report, folder, *arguments = sys.argv
    out = os.open(report, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    sealed = seal(folder)
    os.write(out, (json.dumps(["sealed", sealed]) + "\n").encode())
    watch(out)
    from ui.cli import main

    sys.exit(main(arguments))
