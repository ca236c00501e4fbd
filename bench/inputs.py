"""What the benchmarks build: contexts that are the same on every machine, made by a seeded generator."""
import os
import random
import shutil

BUSYBOX = "/bin/busybox"
BASE = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n"


class Words:
    """Text that compresses about as source code does."""

    def __init__(self, seed=7, size=4 << 20):
        self.random = random.Random(seed)
        letters = "abcdefghijklmnopqrstuvwxyz"
        vocabulary = ["".join(self.random.choice(letters) for _ in range(self.random.randint(2, 10))) for _ in range(4000)]
        text = []
        length = 0
        while length < size:
            word = self.random.choice(vocabulary)
            text.append(word)
            length += len(word) + 1
        self.text = " ".join(text).encode()

    def take(self, size):
        start = self.random.randrange(max(1, len(self.text) - size))
        return self.text[start:start + size]


def context(directory, dockerfile):
    os.makedirs(directory, exist_ok=True)
    shutil.copy(BUSYBOX, directory + "/busybox")
    with open(directory + "/Dockerfile", "w", encoding="utf-8") as file:
        file.write(dockerfile)
    return directory


def many_files(directory, count, size_of, words):
    """`count` files, 200 in a directory, the i-th of size_of(i) bytes. Gives their bytes."""
    total = 0
    for i in range(count):
        place = f"{directory}/d{i // 200}"
        if i % 200 == 0:
            os.makedirs(place, exist_ok=True)
        head = b"%d\n" % i
        data = head + words.take(max(0, size_of(i) - len(head)))
        with open(f"{place}/f{i}.txt", "wb") as file:
            file.write(data)
        total += len(data)
    return total


def big_file(path, size, words):
    """Numbered pieces of text: no two megabytes are the same, and none is without repetition."""
    with open(path, "wb") as file:
        written = 0
        while written < size:
            piece = b"%d\n" % written + words.take(1 << 20)
            piece = piece[:size - written]
            file.write(piece)
            written += len(piece)
