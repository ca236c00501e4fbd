"""unread.py COMMAND...: its output goes to a pipe that nobody reads. Two interrupts must end it with 130."""
import os, signal, subprocess, sys, time, fcntl

read, write = os.pipe()
child = subprocess.Popen(sys.argv[1:], stderr=write, stdout=subprocess.DEVNULL)
os.close(write)
fcntl.fcntl(read, fcntl.F_SETFL, os.O_NONBLOCK)
F_GETPIPE_SZ = 1032
FIONREAD = 0x541B
size = fcntl.fcntl(read, F_GETPIPE_SZ)
deadline = time.monotonic() + 60
while True:  # until the pipe is full
    waiting = int.from_bytes(fcntl.ioctl(read, FIONREAD, b"\0\0\0\0"), sys.byteorder)
    if waiting > size - 4096:
        break
    if time.monotonic() > deadline or child.poll() is not None:
        sys.exit(f"the pipe does not fill: {waiting} of {size}, {child.poll()}")
    time.sleep(0.05)
time.sleep(0.2)
child.send_signal(signal.SIGINT)
time.sleep(0.5)
if child.poll() is None:
    child.send_signal(signal.SIGINT)
try:
    code = child.wait(10)
except subprocess.TimeoutExpired:
    child.kill()
    sys.exit("two interrupts did not end it")
if code != 130:
    sys.exit(f"exit code {code}")
