#!/usr/bin/env python3
"""Draws the plot of the README from the HTTP table in benches/README.md.

Writes plot-light.svg and plot-dark.svg beside this script, and prints the README's table. The figures have
one source, the table, so the plot cannot differ from it.
"""
import html
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent

# The name of each scenario in the table, and its heading in the plot.
ONE_BY_ONE = {
    "1 KiB, 64 connections": "1 KiB, 64 connections",
    "304, 64 connections": "304 (not modified), 64 connections",
    "100 KiB, 64 connections": "100 KiB, 64 connections (the limit does not use sendfile)",
}
PIPELINED = {"1 KiB, 64 connections, 16 pipelined": "1 KiB, 64 connections, 16 requests pipelined"}
# Two panels, because pipelining needs another scale: title, scenarios, end of the axis, step of its marks.
PANELS = [
    ("One request at a time", ONE_BY_ONE, 2.0, 0.5),
    ("Pipelined requests (another scale)", PIPELINED, 20.0, 5.0),
]

# Blue, orange and grey differ in lightness too, and each bar is labelled: the colours carry no meaning alone.
SCHEMES = {
    "light": dict(text="#1f2328", faint="#59636e", grid="#d1d9e0", bars=("#0072b2", "#e69f00", "#8b949e")),
    "dark": dict(text="#f0f6fc", faint="#9198a1", grid="#3d444d", bars=("#56b4e9", "#d98200", "#6e7681")),
}
SERVERS = ("oneloop", "nginx", "lighttpd")

WIDTH, LEFT, RIGHT = 800, 150, 60
BAR, BAR_STEP, TITLE, GROUP, AXIS = 18, 22, 26, 26, 36


def table(text):
    """The rows of the HTTP table: {scenario: {server: (CPU time, ratio to the limit)}}."""
    rows, scenario = {}, None
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("| scenario") and "CPU per request" in line:
            break
    for line in lines:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if set(cells[0]) <= {"-", ":"} and cells[0]:
            continue
        scenario = cells[0] or scenario
        ratio = float(re.match(r"[\d.]+", cells[3])[0])
        rows.setdefault(scenario, {})[cells[1].strip("*")] = (cells[2], ratio)
    return rows


def bars(servers):
    """The name in the table, the CPU time and the ratio of each server; of nginx's settings the better."""
    for server in SERVERS:
        settings = [(ratio, name, time) for name, (time, ratio) in servers.items() if name.startswith(server)]
        ratio, name, time = min(settings)
        yield name, time, ratio


def draw(rows, scheme):
    """The plot as SVG."""
    out, y = [], 0

    def put(x, y, text, fill="text", size=13, anchor="start", weight="normal"):
        out.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'font-weight="{weight}" fill="{scheme[fill]}">{html.escape(text)}</text>'
        )

    put(0, 18, "CPU time of the server per request, divided by that of the limit", size=16, weight="bold")
    put(0, 38, "Shorter is better. The limit parses nothing: its time, 1, is the kernel's share.", "faint")
    y = 52
    for title, scenarios, end, step in PANELS:
        scale = (WIDTH - LEFT - RIGHT) / end
        put(0, y + 20, title, size=14, weight="bold")
        y += TITLE
        marks = [LEFT + mark * step * scale for mark in range(int(end / step) + 1)]
        limit = LEFT + scale
        for name, heading in scenarios.items():
            put(LEFT, y + 18, heading)
            y += GROUP
            # The lines leave the headings free.
            bottom = y + len(SERVERS) * BAR_STEP
            for x in marks:
                out.append(f'<path d="M{x:.1f} {y}V{bottom}" stroke="{scheme["grid"]}"/>')
            for colour, (server, _, ratio) in zip(scheme["bars"], bars(rows[name])):
                weight = "bold" if server == "oneloop" else "normal"
                put(LEFT - 8, y + 14, server, anchor="end", weight=weight)
                out.append(f'<rect x="{LEFT}" y="{y}" width="{ratio * scale:.1f}" height="{BAR}" fill="{colour}"/>')
                put(LEFT + ratio * scale + 6, y + 14, f"{ratio:.2f}", weight=weight)
                y += BAR_STEP
            out.append(
                f'<path d="M{limit:.1f} {bottom - len(SERVERS) * BAR_STEP}V{bottom}" '
                f'stroke="{scheme["text"]}" stroke-dasharray="4 3"/>'
            )
            y += 4
        for x, mark in zip(marks, range(len(marks))):
            if x != limit:
                put(x, y + 14, f"{mark * step:g}", "faint", 12, "middle")
        put(limit, y + 14, "limit" if limit not in marks else "1 = limit", "text", 12, "middle")
        y += AXIS
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" '
        'role="img" font-family="system-ui, -apple-system, \'Segoe UI\', \'DejaVu Sans\', sans-serif">'
        "<title>CPU time per request relative to the limit</title>"
    )
    return "\n".join([head, *out, "</svg>\n"])


def main():
    rows = table((HERE / "README.md").read_text())
    for name, scheme in SCHEMES.items():
        (HERE / f"plot-{name}.svg").write_text(draw(rows, scheme))
    print("| scenario | limit | **oneloop** | nginx | lighttpd |\n|---|--:|--:|--:|--:|")
    for name in ["1 KiB, 64 connections", *PIPELINED, "304, 64 connections", "100 KiB, 64 connections"]:
        times = [rows[name]["limit"][0], *(time for _, time, _ in bars(rows[name]))]
        print(f"| {name} | {' | '.join(times)} |")


if __name__ == "__main__":
    main()
