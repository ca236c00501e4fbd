"""What is measured: one class a row of the table. prepare() makes the input, round() one measurement of one tool."""
import time

import inputs


class Work:
    """`limit` is the share of BuildKit's time to reach; `rounds` how often each tool is measured."""
    key, title, limit, rounds = "", "", None, 5
    peers = ("Corten", "BuildKit", "buildah")

    def __init__(self, place, scale):
        self.context = f"{place}/{self.key}"
        self.scale = scale
        self.words = inputs.Words()
        self.prepare()

    def prepare(self):
        raise NotImplementedError

    def change(self, round_number):
        """Before a round, once for all tools."""

    def before(self, tool):
        """Not measured: what a tool must have done before."""

    def measure(self, tool, round_number):
        return tool.build(self.context)

    def tree(self, tool):
        return tool.tree(self.context)


class Runs(Work):
    key, title, limit = "a", "20 uncached RUN steps", 1 / 12
    count = 20

    def prepare(self):
        lines = "".join(f"RUN : {i}\n" for i in range(self.count))
        inputs.context(self.context, inputs.BASE + "ARG N\n" + lines)

    def before(self, tool):
        tool.build(self.context, {"N": "first"})

    def measure(self, tool, round_number):
        return tool.build(self.context, {"N": f"{round_number}"})

    def tree(self, tool):
        return tool.tree(self.context, {"N": "0"})


class Tree(Work):
    """20,000 files, 163 MB."""
    rounds = 5

    def prepare(self):
        inputs.context(self.context, inputs.BASE + "COPY src /src\nRUN find /src -type f | wc -l >/count\n")
        random = self.words.random
        inputs.many_files(self.context + "/src", 20_000 // self.scale, lambda i: int(random.expovariate(1 / 8150)), self.words)

    def edit(self, round_number):
        number = 10_000 // self.scale
        with open(f"{self.context}/src/d{number // 200}/f{number}.txt", "a", encoding="ascii") as file:
            file.write(f"edit {round_number}\n")


class NothingChanged(Tree):
    key, title, limit = "b", "nothing changed: 20,000 files, 163 MB", 1 / 8

    def before(self, tool):
        tool.build(self.context)
        time.sleep(2.5)  # a stat cache does not trust what changed a moment ago
        tool.build(self.context)


class OneChanged(Tree):
    key, title, limit = "c1", "one of them changed, then RUN; image in the store", 1 / 25

    def before(self, tool):
        tool.build(self.context)
        time.sleep(2.5)
        tool.build(self.context)

    def change(self, round_number):
        self.edit(round_number)


class OneChangedArchive(OneChanged):
    key, title, limit = "c2", "the same, as an OCI archive", 1 / 12

    def before(self, tool):
        tool.build(self.context, archive=True)

    def measure(self, tool, round_number):
        return tool.build(self.context, archive=True)


class Cold(Tree):
    key, title, limit, rounds = "d1", "the same from cold; image in the store", 1 / 5, 3

    def measure(self, tool, round_number):
        tool.fresh()
        return tool.build(self.context)


class ColdArchive(Cold):
    key, title, limit = "d2", "from cold, as an OCI archive", 1 / 4

    def measure(self, tool, round_number):
        tool.fresh()
        return tool.build(self.context, archive=True)


class Stages(Work):
    key, title, limit = "e", "four independent stages of 2 s", None

    def prepare(self):
        stages = "".join(f"FROM base AS s{i}\nARG N\nRUN sleep 2; echo {i} >/s{i}\n" for i in range(4))
        copies = "".join(f"COPY --from=s{i} /s{i} /\n" for i in range(4))
        inputs.context(self.context, inputs.BASE.replace("scratch\n", "scratch AS base\n") + stages + "FROM base\n" + copies)

    rounds = 3

    def before(self, tool):
        tool.build(self.context, {"N": "first"})

    def measure(self, tool, round_number):
        return tool.build(self.context, {"N": f"{round_number}"})

    def tree(self, tool):
        return tool.tree(self.context, {"N": "0"})


class Small(Work):
    files = 200_000

    def prepare(self):
        inputs.context(self.context, inputs.BASE + "COPY src /src\n")
        inputs.many_files(self.context + "/src", self.files // self.scale, lambda i: 1024, self.words)


class SmallCold(Small):
    key, title, limit, rounds = "f1", "200,000 files of 1 KB, cold", 1 / 5, 2

    def measure(self, tool, round_number):
        tool.fresh()
        return tool.build(self.context)


class SmallNothing(Small):
    key, title, limit, rounds = "f2", "200,000 files of 1 KB, nothing changed", 1 / 8, 3

    def before(self, tool):
        tool.build(self.context)
        time.sleep(2.5)
        tool.build(self.context)


class Big(Work):
    key, title, limit, rounds = "g", "one file of 2 GB, cold", 1 / 4, 2

    def prepare(self):
        inputs.context(self.context, "FROM scratch\nCOPY big /big\n")
        inputs.big_file(self.context + "/big", (2 << 30) // self.scale, self.words)

    def measure(self, tool, round_number):
        tool.fresh()
        return tool.build(self.context)


class Layers(Work):
    count = 60

    def prepare(self):
        inputs.context(self.context, inputs.BASE + "".join(f"COPY f{i} /f{i}\n" for i in range(self.count)))
        for i in range(self.count):
            self.edit(i, "first")

    def edit(self, i, text):
        with open(f"{self.context}/f{i}", "w", encoding="ascii") as file:
            file.write(f"{i} {text}\n")

    def before(self, tool):
        tool.build(self.context)


class LayersNothing(Layers):
    key, title, limit = "h1", "60 layers, nothing changed", 1 / 8


class LayersChanged(Layers):
    key, title, limit = "h2", "60 layers, the 30th changed", 1 / 6

    def change(self, round_number):
        self.edit(30, f"round {round_number}")


class Twice(Work):
    """Two equal builds at once; the step leaves a mark in a cache mount each time that it runs."""
    key, title, limit, rounds = "i", "a second, equal build while the first runs: runs of the step", None, 1

    def prepare(self):
        mount = "--mount=type=cache,target=/marks,id=bench-marks"
        inputs.context(self.context, inputs.BASE + f"ARG N\nRUN {mount} echo mark >>/marks/$N; sleep 2\n"
                       f"RUN {mount} wc -l </marks/$N >/count\n")

    def measure(self, tool, round_number):
        began = time.monotonic()
        args = {"N": "together"}
        both = [tool.start(self.context, args) for _ in range(2)]
        for process in both:
            if process.wait() != 0:
                raise SystemExit(f"{tool.name}: a build failed")
        sample = tool.build(self.context, args)
        sample.seconds = time.monotonic() - began
        tool.tree(self.context, args)
        sample.note = f"{tool.file_of_tree('count')}"
        return sample

    def tree(self, tool):
        return None


ALL = [Runs, NothingChanged, OneChanged, OneChangedArchive, Cold, ColdArchive, Stages, SmallCold, SmallNothing, Big,
       LayersNothing, LayersChanged, Twice]
