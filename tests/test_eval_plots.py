"""Plots lie where their numbers say, and say what they show."""

import re
from xml.etree import ElementTree

import pytest

from goalsight.eval.reports.plots import COLOURS, GREYS, Series, dot_plot, line_plot, success_plot
from goalsight.eval.stats import wilson

SVG = "{http://www.w3.org/2000/svg}"


def words_of(picture: str) -> list[str]:
    """What is written in a picture, which must be well-formed."""
    return [word for element in ElementTree.fromstring(picture).iter() if (word := (element.text or "").strip())]


def points_of(picture: str, colour: str) -> list[tuple[float, float]]:
    """The corners of the line of a colour."""
    style = f"stroke: {colour}; stroke-width"
    paths = [one for one in ElementTree.fromstring(picture).iter(SVG + "path") if style in one.get("style", "")]
    numbers = [float(number) for number in re.findall(r"-?[0-9.]+", paths[0].get("d", ""))]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def test_a_line_lies_where_it_should():
    drawn = line_plot([Series("a", [0, 50, 100], [0, float("nan"), 1])], x_label="x", y_label="y", percent=True)
    assert len(points_of(drawn, COLOURS[0])) == 2, "what is no number is left out"
    three = Series("a", [0, 50, 200], [0, 0.5, 1])
    (x0, y0), (x1, y1), (x2, y2) = points_of(line_plot([three], x_label="x", y_label="y", percent=True), COLOURS[0])
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.25)
    assert (y1 - y0) / (y2 - y0) == pytest.approx(0.5)
    assert y2 < y0, "up is more"


def test_a_tenfold_is_as_wide_as_another():
    line = Series("a", [10, 100, 1000], [1, 1, 1])
    drawn = line_plot([line], x_label="x", y_label="y", percent=True, logarithmic=True)
    (x0, _), (x1, _), (x2, _) = points_of(drawn, COLOURS[0])
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert {"10", "100", "1k"} <= set(words_of(drawn))
    assert "20" not in words_of(drawn)


def test_less_than_a_tenfold_has_ticks_between():
    drawn = words_of(line_plot([Series("a", [100, 600], [0, 1])], x_label="x", y_label="y", logarithmic=True))
    assert {"100", "200", "600"} <= set(drawn)
    assert not any("math" in word for word in drawn)


def test_ticks_are_written_short():
    drawn = words_of(line_plot([Series("a", [0, 120_000], [0, 1])], x_label="steps", y_label="y", percent=True))
    assert {"0", "20k", "100k", "0%", "25%", "100%", "steps", "y"} <= set(drawn)
    drawn = words_of(line_plot([Series("psnr", [0, 1], [14.2, 20.1])], x_label="x", y_label="psnr [dB]"))
    assert "14" in drawn
    assert "10" not in drawn, "zero is far"
    drawn = words_of(line_plot([Series("loss", [5, 6], [0.2, 1])], x_label="x", y_label="loss"))
    assert {"0.0", "0"} <= set(drawn), "zero is near on one axis, and steps begin there"


def test_levels_are_grey_and_names_stand_as_they_are():
    series = [Series("a $5 < b$ 名", [0, 1], [0, 1]), Series("80%", [0, 1], [0.8, 0.8], dashed=True)]
    drawn = line_plot(series, x_label="x", y_label="y", percent=True)
    assert {"a $5 < b$ 名", "80%"} <= set(words_of(drawn))
    assert points_of(drawn, GREYS[0])[0][1] == points_of(drawn, GREYS[0])[1][1]
    assert drawn == line_plot(series, x_label="x", y_label="y", percent=True), "the same to the bit"


def test_bars_are_as_long_as_their_share():
    drawn = success_plot({"agent": wilson(5, 10), "expert": wilson(10, 10)})
    assert {"agent", "expert", "50%  [24, 76]", "100%  [72, 100]"} <= set(words_of(drawn))
    bars = [one for one in ElementTree.fromstring(drawn).iter(SVG + "path") if "fill: #" in one.get("style", "")]
    lengths = []
    for bar in bars[-2:]:
        across = [float(number) for number in re.findall(r"-?[0-9.]+", bar.get("d", ""))[::2]]
        lengths.append(max(across) - min(across))
    assert lengths[0] == pytest.approx(lengths[1] / 2)


def test_dots_lie_where_their_shares_are():
    drawn = dot_plot({"place": {"encoder": 0.5, "random": -2.0, "best": 1.0}})
    places = {}
    for group in ElementTree.fromstring(drawn).iter(SVG + "g"):  # a group for each colour
        for dot in group.findall(f"{SVG}g/{SVG}use"):
            # The names above come later.
            places.setdefault(dot.get("style", "")[len("fill: ") :][:7], float(dot.get("x", "nan")))
    half, none, whole = (places[colour] for colour in COLOURS[:3])
    assert half - none == pytest.approx((whole - none) / 2), "below 0 is drawn at 0"
    assert {"place", "encoder", "random", "best", "R² (of steps: rank correlation)"} <= set(words_of(drawn))
