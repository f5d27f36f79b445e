"""docs/performance.md and its plots, from what benches/compare measured.

In: samples by work, by server, by round. Out: a page and three SVG files. Not here: measuring.
"""

import os
import statistics

import plot

NAMES = {
    "ours": "streamway",
    "tonic-best": "tonic at its best",
    "grpc-go": "grpc-go",
    "h2": "bare h2",
    "prototype": "prototype",
    "tcp": "TCP",
    "ours-written": "streamway, default build",
    "tonic": "tonic as written",
    "connectrpc": "connectrpc",
    "prototype-written": "prototype, default build",
}
PEERS = ["tonic-best", "grpc-go", "tonic", "connectrpc"]
# Whom each is compared with: streamway built in the same way.
OURS = {"tonic": "ours-written", "connectrpc": "ours-written", "prototype-written": "ours-written"}
# Of a server on h2 that only answers, built as the peer is.
PROTOTYPES = {"tonic-best": "prototype", "tonic": "prototype-written", "grpc-go": "prototype"}
REPORT = os.path.dirname(os.path.abspath(__file__))

# Least ratio peer ÷ ours: tonic as written, tonic at its best, grpc-go.
GOALS = {
    "export": (4.5, 1.6, 18),
    "export-64k": (3.5, 1.3, 12),
    "unary-1x100": (3.2, 1.6, 3.5),
    "unary-50x10": (2.8, 1.6, 3.8),
    "bidi-100": (4.5, 2, 2),
    "bidi-1": (1.1, 1.0, 1.7),
    "bidi-pipelined": (1.3, 1.2, 4),
    "upload": (1.9, 1.5, 7),
    "receive-ours": (2.0, 1.8, 6),
}
GOAL_PEERS = ["tonic", "tonic-best", "grpc-go"]


def write(folder, works, samples, facts, commands):
    """Writes the page and the plots that have data."""
    os.makedirs(folder, exist_ok=True)
    text = [HEAD.format(**facts, rounds_text=rounds_text(facts))]
    table = [w for w in works if not w.name.startswith(("orders-", "streams-", "export-store"))]
    text += ["## CPU\n", "CPU time of the process under test; each peer as a multiple of the streamway that is built alike, the goal behind it.\n",
             costs(table, samples, "cpu", goals=True)]
    text += ["\n## Wall time\n", "The whole system: server, client and kernel on the same two cores.\n",
             costs(table, samples, "wall", goals=False)]
    text += extras(samples, facts["floors"], {w.name: w.title for w in works})
    growth = {}
    for kind, title, x in [("orders", "Export: CPU as the number of orders grows", "orders (log)"),
                           ("streams", "Exports at once on one connection: CPU as their number grows", "streams (log)"),
                           ("streams", "Exports at once on one connection: peak memory", "streams (log)")]:
        field = "rss" if title.endswith("memory") else "cpu"
        growth[f"{kind}-{field}"] = (kind, field, title, x)
    pictures = []
    bars = [(w.title, {p: ratio(samples[w.name], p, "cpu") for p in PEERS if p in samples[w.name]}) for w in table]
    if bars:
        pictures.append(("performance.svg", "CPU of each peer as a multiple of streamway's", plot.bars("CPU of each peer as a multiple of streamway's (1 = the same; log scale)", bars, NAMES)))
    for key, (kind, field, title, x) in growth.items():
        points = [w for w in works if w.name.startswith(kind + "-")]
        if not points:
            continue
        lines = {s: [(int(w.name.rsplit("-", 1)[1]), median(samples[w.name][s], field)) for w in points] for s in samples[points[0].name]}
        unit = "peak RSS, MiB (log)" if field == "rss" else f"CPU, {points[0].unit} (log)"
        pictures.append((f"performance-{key}.svg", title, plot.lines(title, x, unit, lines, NAMES)))
    if pictures:
        text.append("\n## Pictures\n")
    for name, title, svg in pictures:
        with open(os.path.join(folder, name), "w") as file:
            file.write(svg)
        text.append(f"![{title}]({name})\n")
    # Made by benches/profile, and by hand.
    for part in ["profile.md", "notes.md"]:
        with open(os.path.join(REPORT, part)) as file:
            text.append("\n" + file.read())
    text.append("\n## Commands\n\nFrom the root of the repository: `" + facts["command"] + "`. What it runs against each server:\n\n```text")
    text += [f"{name:24} {command}" for name, command in commands.items() if not name.startswith(("orders-", "streams-"))]
    text.append("```")
    with open(os.path.join(folder, "performance.md"), "w") as file:
        file.write("\n".join(text) + "\n")


HEAD = """# Performance

Written by `{command}`; do not edit. {rounds_text}
Ratios are medians of the ratios within each round, so that a busy machine disturbs both sides alike; absolute times mean little.
Each ratio is one of two programs built alike: tonic and connectrpc as people write them (on a multi-thread runtime) and the
streamway beside them as cargo builds when nobody says how; tonic at its best, the floors and the other streamway with `lto = "fat"`, one
codegen unit and without h2's traces. Go has one way to build, and stands beside the latter.

Everyone has TCP_NODELAY and no tracing subscriber, and writes the strings of an order anew for each message, by the same code:
streamway into one message that its handler fills again (`send_while`); the others into new messages, because their streams
own what they yield. Likewise streamway receives into one message (`merge`), the others into new ones. What that alone gives
stands below. tonic's clients are not asked to receive from grpc-go: they end the connection with `too_many_data_frames` as soon as
they fall behind.

| | |
|---|---|
| streamway | {versions[streamway]} |
| peers | {versions[peers]} |
| tools | {versions[tools]} |
| machine | {versions[machine]} |
"""


PROTOTYPE = """CPU of each peer as a multiple of that of a server on h2 that only answers, built as the peer is: a socket that gathers
writes and a framing like ours, without metadata, deadlines, limits, timers, and statuses but OK (`benches/peers/floor/src/prototype.rs`). It is not
the fastest that there could be; but a goal that it misses too is hardly in reach of who keeps h2 and adds the rest of the protocol.
"""


def rounds_text(facts):
    return f"{facts['rounds']} interleaved rounds."


def median(runs, field):
    return statistics.median(run[field] for run in runs)


def quotient(work, one, other, field):
    """One ÷ other, round by round."""
    return statistics.median(a[field] / b[field] for a, b in zip(work[one], work[other]))


def ratio(work, peer, field):
    """Peer ÷ ours that is built alike."""
    return quotient(work, peer, OURS.get(peer, "ours"), field)


def costs(works, samples, field, goals):
    rows = ["| work | " + " | ".join(NAMES.values()) + " |", "|---|" + "---:|" * len(NAMES)]
    for work in works:
        measured = samples[work.name]
        cells = []
        for peer in NAMES:
            if peer not in measured:
                cells.append("")
                continue
            if peer.startswith("ours"):
                cells.append(f"{median(measured[peer], field):.3g} {work.unit}")
                continue
            value = ratio(measured, peer, field)
            cell = f"{value:.2f}"
            if goals and work.name != "bidi-1" and peer in GOAL_PEERS and work.name in GOALS:
                cell = against(value, GOALS[work.name][GOAL_PEERS.index(peer)])
            cells.append(cell)
        rows.append(f"| {work.title} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def against(value, goal):
    return f"{value:.2f} (≥ {goal})" if value >= goal else f"**{value:.2f}** (≥ {goal})"


def extras(samples, floors, titles):
    """What is no cost of one unit: limits, latencies, memory."""
    rows = []
    if "export" in samples:
        limit = floors["encode"] + median(samples["export"]["h2"], "cpu")
        ours = median(samples["export"]["ours"], "cpu")
        rows.append(f"| export ÷ (encoding alone {floors['encode']:.1f} ms + bare h2 {limit - floors['encode']:.1f} ms) | {ours / limit:.2f} | ≤ 1.5 |")
    if "export-store" in samples:
        value = statistics.median(store["cpu"] / memory["cpu"] for store, memory in zip(samples["export-store"]["store"], samples["export-store"]["ours"]))
        rows.append(f"| export from SQLite, through `streamway serve` ÷ export from memory | {value:.2f} | ≤ 2.5 |")
        alone = floors["sqlite"] / median(samples["export-store"]["ours"], "cpu")
        rows.append(f"| SQLite handing these values over and nothing else ({floors['sqlite']:.1f} ms) ÷ export from memory | {alone:.2f} | |")
    if "unary-1x100" in samples:
        rows.append(f"| unary 1 × 100 ÷ bare h2 with a constant | {1 / ratio(samples['unary-1x100'], 'h2', 'cpu'):.2f} | ≤ 1.2 |")
    if "receive-ours" in samples:
        rows.append(f"| client receive ÷ decoding alone ({floors['decode']:.1f} ms) | {median(samples['receive-ours']['ours'], 'cpu') / floors['decode']:.2f} | ≤ 1.3 |")
    out = []
    if rows:
        out += ["\n## Limits\n", "| | ratio | goal |", "|---|---:|---:|", *rows]
    if "bidi-1" in samples:
        out += ["\n## Latency: ping-pong on one stream, both ends on one core\n", "| | p50 µs | p99 µs | p50 ÷ ours |", "|---|---:|---:|---:|"]
        for name, runs in samples["bidi-1"].items():
            value = 1 if name.startswith("ours") else ratio(samples["bidi-1"], name, "p50")
            cell = against(value, GOALS["bidi-1"][GOAL_PEERS.index(name)]) if name in GOAL_PEERS else f"{value:.2f}"
            out.append(f"| {NAMES[name]} | {median(runs, 'p50'):.1f} | {median(runs, 'p99'):.1f} | {cell} |")
    prototyped = {name: work for name, work in samples.items() if "prototype" in work}
    if prototyped:
        out += ["\n## A prototype\n", PROTOTYPE, "| | " + " | ".join(NAMES[peer] for peer in PROTOTYPES) + " |", "|---|" + "---:|" * len(PROTOTYPES)]
        for name, work in prototyped.items():
            field = "p50" if name == "bidi-1" else "cpu"
            cells = [against(quotient(work, peer, PROTOTYPES[peer], field), GOALS[name][GOAL_PEERS.index(peer)]) for peer in PROTOTYPES]
            out.append(f"| {titles[name]}{', p50' if field == 'p50' else ''} | " + " | ".join(cells) + " |")
    if "export-64-streams" in samples:
        work = samples["export-64-streams"]
        out += ["\n## Memory: peak RSS of 64 exports on one connection\n", "Goal: at most 12 MiB, and a quarter of grpc-go's.\n",
                "| " + " | ".join(NAMES[name] for name in work) + " |", "|" + "---:|" * len(work),
                "| " + " | ".join(f"{median(runs, 'rss'):.1f} MiB" for runs in work.values()) + " |"]
    return out
