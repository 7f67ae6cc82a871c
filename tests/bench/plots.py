"""Two plots as SVG, written by hand: what was done a second, and how long one call took."""

from html import escape
from math import ceil, floor, log10

_WIDTH, _ROW, _LEFT, _TOP = 760, 20, 250, 40
_COLOURS = {"lovage": "#3b7a57", "celery": "#b5651d"}
_GREY = "#8a8f98"
_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
    ' font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    '<text x="10" y="20" font-size="14" font-weight="bold">{title}</text>'
)


def all_of(found) -> dict[str, str]:
    """The plots' names and texts."""
    return {"throughput.svg": throughput(found), "round-trips.svg": round_trips(found)}


def throughput(found) -> str:
    """A bar for each who was measured in each scenario, on a scale of powers of ten."""
    bars = [
        (f"{each['scenario']}, {each['broker']}: {name}", name, median["tasks_per_s"])
        for each in found
        for name, median in each["medians"].items()
    ]
    most = ceil(log10(max((value for _, _, value in bars), default=10)))
    height = _TOP + _ROW * len(bars) + 30
    lines = [_HEAD.format(width=_WIDTH, height=height, title="tasks a second (powers of ten)")]
    scale = (_WIDTH - _LEFT - 80) / most
    for power in range(most + 1):
        x = _LEFT + power * scale
        lines.append(_line(x, _TOP - 8, x, height - 22, "#dddddd"))
        lines.append(_text(x, height - 8, f"{10**power:,}", "middle"))
    for number, (label, name, value) in enumerate(bars):
        y, width = _TOP + number * _ROW, max(log10(max(value, 1)) * scale, 1)
        colour = _COLOURS.get(name, _GREY)
        lines.append(_text(_LEFT - 8, y + 12, label, "end"))
        lines.append(f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="14" fill="{colour}"/>')
        lines.append(_text(_LEFT + width + 6, y + 12, f"{value:,.0f}"))
    return "\n".join([*lines, "</svg>"]) + "\n"


def round_trips(found) -> str:
    """How many calls in a hundred had their result within so many milliseconds, of the no-op."""
    noop = next((each for each in found if each["scenario"] == "noop"), None)
    trips = {
        name: sorted(trip for one in played for trip in one["trips_ms"])
        for name, played in (noop["rounds"] if noop else {}).items()
    }
    spread = [trip for all_trips in trips.values() for trip in all_trips] or [1, 10]
    least, most = floor(log10(min(spread)) * 4) / 4, ceil(log10(max(spread)) * 4) / 4
    scale, height = (_WIDTH - 100) / max(most - least, 0.25), 320
    title = "calls of a hundred that are back within so many ms, one at a time"
    lines = [_HEAD.format(width=_WIDTH, height=height, title=title)]
    for step in range(round(least * 4), round(most * 4) + 1):
        x = 50 + (step / 4 - least) * scale
        lines.append(_line(x, _TOP, x, height - 40, "#eeeeee"))
        lines.append(_text(x, height - 24, f"{10 ** (step / 4):.3g}", "middle"))
    for part in (0, 50, 90, 100):
        y = height - 40 - (height - 40 - _TOP) * part / 100
        lines.append(_line(50, y, _WIDTH - 50, y, "#eeeeee"))
        lines.append(_text(44, y + 4, str(part), "end"))
    for number, (name, all_trips) in enumerate(trips.items()):
        points = " ".join(
            f"{50 + (log10(trip) - least) * scale:.1f},"
            f"{height - 40 - (height - 40 - _TOP) * (at + 1) / len(all_trips):.1f}"
            for at, trip in enumerate(all_trips)
        )
        dash = "" if name in _COLOURS else f' stroke-dasharray="{2 + 2 * number} 3"'
        colour = _COLOURS.get(name, _GREY)
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}"{dash}/>')
        x = 60 + 115 * number
        lines.append(_line(x, height - 8, x + 16, height - 8, colour, dash))
        lines.append(_text(x + 20, height - 4, name))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _line(x1, y1, x2, y2, colour, more="") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{more}/>'


def _text(x, y, text, anchor="start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
