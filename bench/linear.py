"""How the costs of Corten grow with the number of files."""
import time

import inputs


def measure(tool, place, scale):
    """[(files, cold seconds, seconds with nothing changed, seconds with one changed)]"""
    points = []
    for count in (12_500, 25_000, 50_000, 100_000, 200_000):
        count //= scale
        context = inputs.context(f"{place}/linear-{count}", inputs.BASE + "COPY src /src\nRUN true\n")
        inputs.many_files(context + "/src", count, lambda i: 1024, inputs.Words())
        tool.fresh()
        cold = tool.build(context).seconds
        time.sleep(2.5)
        tool.build(context)
        nothing = min(tool.build(context).seconds for _ in range(3))
        with open(context + "/src/d0/f0.txt", "a", encoding="ascii") as file:
            file.write("edit\n")
        changed = tool.build(context).seconds
        points.append((count, cold, nothing, changed))
    tool.fresh()
    return points
