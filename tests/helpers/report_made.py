"""Tables and figures made from constructed records, and what every figure has to keep."""

from __future__ import annotations

import itertools
from importlib import import_module
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from report_experiment import Builder, collected

from electralab.report.make import make_figure, make_table
from electralab.report.results import Results
from electralab.report.runs import Runs

MOST_NOTES = 6  # below any table, whatever the experiment: more are read by nobody


class Made:
    """A table's CSV and Markdown."""

    def __init__(self, builder: Builder, name: str, **more: Any) -> None:
        results = collected(builder, **more)
        stem = results.folder / "tables" / name
        make_table(name, results, stem)
        self.frame = pd.read_csv(f"{stem}.csv")
        self.text = Path(f"{stem}.md").read_text()
        self.html = Path(f"{stem}.html").read_text()
        _, _, care = self.text.partition("**Read with care.**")
        assert care.partition("**How this was measured.**")[0].count("\n- ") <= MOST_NOTES

    def section(self, heading: str) -> str:
        return next(part for part in self.text.split("\n## ") if part.startswith(heading))

    def line(self, start: str, section: str = "") -> str:
        """The first line of a grid with this start, in the first section that starts so."""
        text = self.section(section) if section else self.text
        return next(line for line in text.splitlines() if line.startswith(f"| {start}"))

    def cells(self, start: str, section: str = "") -> dict[str, str]:
        """The cells of such a line by the heads of their columns."""
        heads: list[str] = []
        for line in (self.section(section) if section else self.text).splitlines():
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            if line.startswith(f"| {start}"):
                return dict(zip(heads, cells, strict=True))
            heads = heads if line.startswith("|") and heads else cells
        raise AssertionError(f"no line starts with {start}")

    def notes(self, *words: str) -> list[str]:
        notes = [line for line in self.text.splitlines() if line.startswith("- ")]
        return [line for line in notes if all(word in line for word in words)]

    def note(self, *words: str) -> str:
        """The only footnote with these words; empty where there is none."""
        notes = self.notes(*words)
        assert len(notes) <= 1, notes
        return notes[0] if notes else ""

    def row(self, **wanted: Any) -> pd.Series[Any]:
        """The only row of the CSV with these values."""
        frame = self.frame
        for name, value in wanted.items():
            frame = frame[frame[name] == value]
        assert len(frame) == 1, frame
        return frame.iloc[0]


def runs_of(builder: Builder) -> Runs:
    return collected(builder).runs


def drawn(name: str, results: Results) -> Figure:
    """A figure as it is before it is saved."""
    figure: Figure = import_module(f"electralab.report.figures.{name}").figure(results)
    return figure


def check_layout(figure: Figure) -> None:
    """Nothing is clipped, and no panel, legend or text within a panel lies on another; call it in the house style."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    whole = figure.get_tightbbox(renderer)  # inches, with every title, tick and legend
    width, height = figure.get_size_inches()
    assert whole.x0 >= -0.01 and whole.y0 >= -0.01
    assert whole.x1 <= width + 0.01 and whole.y1 <= height + 0.01
    boxes = [part.get_tightbbox(renderer) for part in [*filter(lambda p: p.axison, figure.axes), *figure.legends]]
    texts = [text.get_window_extent(renderer) for panel in figure.axes for text in panel.texts]
    for one, other in itertools.chain(itertools.combinations(boxes, 2), itertools.combinations(texts, 2)):
        across, along = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
        assert across <= 1 or along <= 1, (one, other)


def check_files(name: str, results: Results) -> None:
    """The same figure gives the same bytes, carries no date, is wide enough for a README and is not blank."""
    found = []
    for attempt in ("first", "second"):
        stem = results.folder / "figures" / attempt
        make_figure(name, results, stem)
        found.append((Path(f"{stem}.svg").read_bytes(), Path(f"{stem}.png").read_bytes()))
    assert found[0] == found[1]
    assert b"<dc:date>" not in found[0][0]
    pixels = matplotlib.image.imread(results.folder / "figures" / "first.png")
    assert pixels.shape[1] >= 1500
    assert np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0).shape[0] > 20
