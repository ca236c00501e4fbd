"""abstract_listener.py NAME: listens on an abstract unix socket until it is killed; prints a line when it does."""
import signal
import socket
import sys

listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind("\0" + sys.argv[1])
listener.listen()
print("listening", flush=True)
signal.pause()
