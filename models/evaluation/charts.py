"""Small charts as inline SVG: one plot area with axes, and marks in data units.

Colours are CSS classes, so that the page decides for light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

WIDTH, HEIGHT = 460.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 54.0, 14.0, 28.0, 46.0


class Chart:
    """A plot over x and y ranges; add marks, then `svg()`."""

    def __init__(
        self,
        name: str,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        x_words: str,
        y_words: str,
        x_labels: Sequence[tuple[float, str]] | None = None,
        percent: tuple[bool, bool] = (False, False),
    ) -> None:
        self._name = name
        self._x, self._y = _widened(x_range), _widened(y_range)
        self._marks: list[str] = []
        self._axes(x_words, y_words, x_labels, percent)

    def _px(self, x: float) -> float:
        low, high = self._x
        return LEFT + (x - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def _py(self, y: float) -> float:
        low, high = self._y
        return HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def _axes(
        self,
        x_words: str,
        y_words: str,
        x_labels: Sequence[tuple[float, str]] | None,
        percent: tuple[bool, bool],
    ) -> None:
        floor, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        for value in _ticks(*self._y):
            y = self._py(value)
            self._marks.append(f'<path class="grid" d="M{LEFT:.1f} {y:.1f}H{right:.1f}"/>')
            self._text(LEFT - 8, y + 4, _number(value, percent[1]), "end")
        if x_labels is None:
            x_labels = [(value, _number(value, percent[0])) for value in _ticks(*self._x)]
        for value, label in x_labels:
            self._text(self._px(value), floor + 18, label, "middle")
        self._marks.append(f'<path class="axis" d="M{LEFT:.1f} {floor:.1f}H{right:.1f}"/>')
        self._text((LEFT + right) / 2, HEIGHT - 8, x_words, "middle", "words")
        self._text(4, 12, y_words, "start", "words")

    def _text(self, x: float, y: float, text: str, anchor: str, style: str = "tick") -> None:
        self._marks.append(
            f'<text class="{style}" text-anchor="{anchor}" x="{x:.1f}" y="{y:.1f}">'
            f"{escape(text)}</text>"
        )

    def line(self, points: Iterable[tuple[float, float]], style: str) -> None:
        """A polyline through points (x, y)."""
        steps = [f"{self._px(x):.1f} {self._py(y):.1f}" for x, y in points]
        if steps:
            self._marks.append(f'<path class="line {style}" d="M{"L".join(steps)}"/>')

    def area(self, points: Sequence[tuple[float, float]], style: str) -> None:
        """The area between a line and the x axis."""
        if not points:
            return
        steps = "L".join(f"{self._px(x):.1f} {self._py(y):.1f}" for x, y in points)
        floor = self._py(self._y[0])
        self._marks.append(
            f'<path class="area {style}" d="M{self._px(points[0][0]):.1f} {floor:.1f}L{steps}'
            f'L{self._px(points[-1][0]):.1f} {floor:.1f}Z"/>'
        )

    def dot(self, x: float, y: float, radius: float, tip: str, style: str) -> None:
        """A dot that tells `tip` under the pointer."""
        self._marks.append(
            f'<circle class="dot {style}" cx="{self._px(x):.1f}" cy="{self._py(y):.1f}" '
            f'r="{radius:.1f}"><title>{escape(tip)}</title></circle>'
        )

    def whisker(self, x: float, low: float, high: float, style: str) -> None:
        """An upright range at x."""
        self._marks.append(
            f'<path class="line {style}" d="M{self._px(x):.1f} {self._py(low):.1f}'
            f'V{self._py(high):.1f}"/>'
        )

    def bar(self, left: float, right: float, base: float, top: float, tip: str, style: str) -> None:
        """A bar from `base` up to `top`, one pixel apart from its neighbours."""
        x, y = self._px(left), self._py(top)
        self._marks.append(
            f'<rect class="bar {style}" x="{x + 0.5:.1f}" y="{y:.1f}" '
            f'width="{max(self._px(right) - x - 1, 0.5):.1f}" '
            f'height="{max(self._py(base) - y, 0):.1f}"><title>{escape(tip)}</title></rect>'
        )

    def svg(self) -> str:
        """The chart as an SVG element that a screen reader names."""
        return (
            f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" '
            f'aria-label="{escape(self._name, quote=True)}">{"".join(self._marks)}</svg>'
        )


def _widened(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = limits
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    """Up to six round values within the range."""
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float, percent: bool) -> str:
    if percent:
        return f"{value * 100:.4g}%"
    return f"{value / 1000:.4g}k" if abs(value) >= 10_000 else f"{value:.4g}"
