#!/usr/bin/env python3
"""in_terminal.py COLUMNSxROWS [--resize TEXT COLUMNSxROWS] [--interrupt TEXT] OUTPUT PROGRAM...

Runs a program in a pseudo-terminal of the size and exits with its code; all that it sends goes to OUTPUT. When TEXT was
seen, the terminal gets another size, or Ctrl-C is typed.
"""
import fcntl
import os
import pty
import struct
import sys
import termios


def set_size(fd, text):
    columns, rows = map(int, text.split("x"))
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


arguments = sys.argv[1:]
size = arguments.pop(0)
when = []
while arguments[0].startswith("--"):
    option, text = arguments.pop(0), arguments.pop(0)
    new_size = arguments.pop(0) if option == "--resize" else None
    when.append((text.encode(), new_size))
output = arguments.pop(0)

# The child waits until the size is set.
ready, go = os.pipe()
child, terminal = pty.fork()
if child == 0:
    os.read(ready, 1)
    os.execvp(arguments[0], arguments)
set_size(terminal, size)
os.write(go, b"x")
seen = b""
with open(output, "wb") as file:
    while True:
        try:
            got = os.read(terminal, 65536)
        except OSError:  # EIO: the program has closed it
            break
        if not got:
            break
        file.write(got)
        seen += got
        for text, new_size in list(when):
            if text in seen:
                when.remove((text, new_size))
                if new_size:
                    set_size(terminal, new_size)
                else:
                    os.write(terminal, b"\x03")
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
