#!/usr/bin/env python3
"""screen.py FILE: what a terminal shows that was sent the bytes, from its first line on, blanks at the ends gone.

Knows the sequences that a build's picture consists of; another one is an error.
"""
import re
import sys

text = open(sys.argv[1], "rb").read().decode()
lines, row, column = [[]], 0, 0
for token in re.findall("\x1b\\[[0-9;?]*[A-Za-z]|.", text, re.S):
    line = lines[row]
    if token == "\r":
        column = 0
    elif token == "\n":
        row += 1
        if row == len(lines):
            lines.append([])
    elif not token.startswith("\x1b"):
        line.extend(" " * (column + 1 - len(line)))
        line[column] = token
        column += 1
    elif token[-1] in "ABG":
        count = int(token[2:-1])
        if token[-1] == "G":
            column = count - 1
        else:
            row = max(0, row - count) if token[-1] == "A" else min(len(lines) - 1, row + count)
    elif token[-1] in "KJ":
        del line[column:]
        if token[-1] == "J":
            del lines[row + 1 :]
    elif token[-1] != "m" and token[2] != "?":
        sys.exit(f"an unexpected sequence: {token!r}")
for line in lines:
    print("".join(line).rstrip())
