"""The page of results, and the plot on it."""
import os
import re
import statistics


class Row:
    """The medians of one work."""

    def __init__(self, work, samples):
        self.work = work
        self.seconds = {name: statistics.median(s.seconds for s in list_) for name, list_ in samples.items()}
        self.peak = {name: max(s.peak for s in list_) for name, list_ in samples.items()}
        self.notes = {name: list_[-1].note for name, list_ in samples.items()}
        self.written = {name: statistics.median(s.written for s in list_) for name, list_ in samples.items()}

    def ratio(self, peer):
        return self.seconds[peer] / self.seconds["Corten"]


def seconds(value):
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def table(rows, names):
    peers = [name for name in names if name != "Corten"]
    head = ["", "work"] + names + [f"{peer} / Corten" for peer in peers] + ["to reach", "peak memory", "written"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        limit = row.work.limit
        reached = ""
        if limit:
            reached = f"1/{round(1 / limit)} of BuildKit"
            if "BuildKit" in row.seconds:
                reached += ": yes" if row.seconds["Corten"] <= row.seconds["BuildKit"] * limit else ": **no**"
        here = [name for name in names if name in row.seconds]
        cells = [row.work.key, row.work.title] + [seconds(row.seconds[name]) if name in here else "" for name in names]
        cells += [f"{row.ratio(peer):.1f}" if peer in here else "" for peer in peers]
        if any(row.notes.values()):
            reached = " / ".join(row.notes[name] for name in here)
        cells += [reached, " / ".join(f"{row.peak[name] >> 20}" for name in here) + " MiB",
                  " / ".join(f"{row.written[name] / 1e6:.0f}" for name in here) + " MB"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(points):
    """An SVG of seconds over files, both axes from zero: a straight line is what should be seen."""
    width, height, left, bottom = 640, 360, 60, 40
    most_files = max(p[0] for p in points)
    most = max(p[1] for p in points) * 1.1

    def x(files):
        return left + files / most_files * (width - left - 20)

    def y(value):
        return height - bottom - value / most * (height - bottom - 20)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>',
             f'<path d="M{left},20 V{height - bottom} H{width - 20}" fill="none" stroke="#444"/>']
    for files in [p[0] for p in points]:
        parts.append(f'<text x="{x(files):.0f}" y="{height - bottom + 18}" text-anchor="middle">{files:,}</text>')
    for step in range(1, 5):
        value = most / 5 * step
        parts.append(f'<text x="{left - 6}" y="{y(value):.0f}" text-anchor="end">{value:.1f} s</text>')
    for column, (name, color) in enumerate((("cold", "#b3541e"), ("nothing changed", "#2b6cb0"), ("one changed", "#2f855a")), 1):
        line = " ".join(f"{x(p[0]):.1f},{y(p[column]):.1f}" for p in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="{left + 20}" y="{20 + 16 * column}" fill="{color}">{name}</text>')
    return "\n".join(parts + ["</svg>"]) + "\n"


def write(path, rows, names, versions, points, date, command):
    directory = os.path.dirname(path)
    if points:
        with open(os.path.join(directory, "benchmarks-linear.svg"), "w", encoding="utf-8") as file:
            file.write(plot(points))
    with open(os.path.join(os.path.dirname(__file__), "page.md"), encoding="utf-8") as file:
        text = file.read()
    for name, value in {"date": date, "command": command, "versions": "\n".join(f"- {v}" for v in versions),
                        "table": table(rows, names),
                        "points": "\n".join(f"| {n:,} | {seconds(a)} | {seconds(b)} | {seconds(c)} |" for n, a, b, c in points)}.items():
        text = text.replace("{{" + name + "}}", value)
    if not points:
        text = re.sub(r"## Linear\n.*?(?=## )", "", text, flags=re.S)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
