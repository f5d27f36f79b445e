"""SVG by hand: bars and lines on logarithmic axes.

In: titles and numbers. Out: the text of a picture that is read on light and dark pages. Not here: what the numbers mean.
"""

import math

COLOURS = {"ours": "#d1495b", "ours-written": "#e8919d", "tonic": "#00798c", "tonic-best": "#30a5bf", "grpc-go": "#8d6a9f", "connectrpc": "#edae49"}
STYLE = "<style>text{font:13px sans-serif;fill:#222}.title{font-size:16px;font-weight:bold}.small{font-size:11px;fill:#555}</style>"


def document(width, height, title, parts):
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'role="img" aria-label="{title}">{STYLE}<rect width="100%" height="100%" fill="#fff"/>')
    return "\n".join([head, text(16, 26, title, "title"), *parts, "</svg>"]) + "\n"


def text(x, y, words, style="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{words}</text>'


def line(x1, y1, x2, y2, colour="#ddd", width=1):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def legend(series, names, x, y):
    parts = []
    for name in series:
        parts.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{COLOURS[name]}"/>')
        parts.append(text(x + 18, y, names[name]))
        x += 40 + 8 * len(names[name])
    return parts


def bars(title, groups, names):
    """A group of bars for each work, one for each peer, on a logarithmic axis from 1/2 up."""
    left, top, thick, width = 400, 72, 13, 960
    series = [name for name in COLOURS if any(name in values for _, values in groups)]
    most = max(max(values.values(), default=1) for _, values in groups)
    low, high = math.log(0.5), math.log(max(most, 2) * 1.3)
    at = lambda value: left + (math.log(max(value, 0.5)) - low) / (high - low) * (width - left - 60)
    parts, y = legend(series, names, 16, 52), top
    for label, values in groups:
        present = [name for name in series if name in values]
        parts.append(text(left - 12, y + len(present) * thick / 2 + 4, label, anchor="end"))
        for name in present:
            start, end = sorted([at(1), at(values[name])])
            parts.append(f'<rect x="{start:.1f}" y="{y}" width="{max(end - start, 1):.1f}" height="{thick - 2}" fill="{COLOURS[name]}"/>')
            parts.append(text(end + 4, y + thick - 3, f"{values[name]:.1f}", "small"))
            y += thick
        y += 14
    grid = []
    for tick in [0.5, 1, 2, 5, 10, 20, 50]:
        if tick <= most * 1.3:
            grid += [line(at(tick), top - 6, at(tick), y, "#444" if tick == 1 else "#ddd"), text(at(tick), y + 14, f"{tick:g}×", "small", "middle")]
    return document(width, y + 30, title, grid + parts)


def lines(title, x_label, y_label, series, names):
    """A line for each server, both axes logarithmic."""
    left, right, top, bottom, width, height = 80, 800, 76, 400, 860, 450
    points = [point for line_points in series.values() for point in line_points]
    xs, ys = sorted({x for x, _ in points}), [max(y, 1e-3) for _, y in points]
    x_low, x_high = math.log(xs[0]), math.log(xs[-1]) + 1e-9
    y_low, y_high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)) + 1e-9)
    at_x = lambda x: left + (math.log(x) - x_low) / (x_high - x_low) * (right - left)
    at_y = lambda y: bottom - (math.log10(max(y, 1e-3)) - y_low) / max(y_high - y_low, 1) * (bottom - top)
    parts = legend([name for name in COLOURS if name in series], names, 16, 54)
    for power in range(y_low, y_high + 1):
        for digit in [1, 2, 5]:
            value = digit * 10.0**power
            if digit == 1 or power < y_high:
                parts += [line(left, at_y(value), right, at_y(value)), text(left - 8, at_y(value) + 4, f"{value:g}", "small", "end")]
    for x in xs:
        parts += [line(at_x(x), top, at_x(x), bottom), text(at_x(x), bottom + 18, f"{x:,}", "small", "middle")]
    parts += [text((left + right) / 2, bottom + 38, x_label, anchor="middle"), text(left, top - 6, y_label, "small")]
    for name, values in series.items():
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in values)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="4" fill="{COLOURS[name]}"/>' for x, y in values]
    return document(width, height, title, parts)
