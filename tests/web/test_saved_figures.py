"""A figure that is drawn once is the figure that matplotlib saves."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from tailort.web.figures import figure, png, svg


def curves() -> Figure:
    fig = figure(6.0, 4.0)
    ax, below = fig.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    ax.step(np.arange(50.0), np.linspace(1, 0, 50), label="one")
    ax.fill_between(np.arange(50.0), 0.2, 0.4, alpha=0.2)
    ax.set_title("a title", loc="right")
    ax.legend()
    below.set_yticks([0.0, 1.0], ["a long label of a line", "b"])
    return fig


def planes() -> Figure:
    fig = figure(8.0, 3.0)
    left, right = fig.subplots(1, 2)
    drawn = left.imshow(np.arange(60.0).reshape(6, 10), extent=(0, 100, 0, 30))
    fig.colorbar(drawn, ax=left)
    right.set_aspect("equal")
    right.plot([0, 3], [0, 1])
    fig.legend(handles=[mpl.patches.Patch(label="patch")], loc="outside lower center")
    return fig


def of(address: str) -> bytes:
    return base64.b64decode(address.split(",", 1)[1])


def saved(fig: Figure, **options: Any) -> bytes:
    stream = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "tailort", "svg.fonttype": "path"}):
        fig.savefig(stream, **options)
    return stream.getvalue()


def without_names(drawn: bytes) -> bytes:
    """Names of clip paths and pictures are of the objects in memory, and differ from run to run."""
    return re.sub(rb"(?<=[\"#(])[pi][0-9a-f]{10}", b"name", drawn)


@pytest.mark.parametrize("drawn", [curves, planes])
def test_a_figure_is_as_matplotlib_saves_it(drawn: Callable[[], Figure]) -> None:
    expected = saved(drawn(), format="svg", metadata={"Date": None})
    assert without_names(of(svg(drawn()))) == without_names(expected)
    for dpi in (80, 200):
        assert of(png(drawn(), dpi)) == saved(drawn(), format="png", dpi=dpi)


def test_saving_leaves_canvas_and_layout_as_they_were() -> None:
    fig = curves()
    before = fig.dpi, fig.canvas, fig.get_layout_engine()
    png(fig, 80)
    svg(fig)
    assert (fig.dpi, fig.canvas, fig.get_layout_engine()) == before
