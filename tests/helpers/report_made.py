"""Tables and figures made from constructed records, and what every figure has to keep."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from report_experiment import PUBLISHED, Builder, collected

from electralab.report.figures import make_figure
from electralab.report.runs import Runs, read_runs
from electralab.report.tables import make_table


class Made:
    """A table's CSV and Markdown."""

    def __init__(self, builder: Builder, name: str) -> None:
        folder = builder.folder.parent
        runs, _, comparisons = collected(builder, folder)
        make_table(name, runs, comparisons, PUBLISHED, folder / f"{name}.csv", folder / f"{name}.md")
        self.frame = pd.read_csv(folder / f"{name}.csv")
        self.text = (folder / f"{name}.md").read_text()

    def section(self, heading: str) -> str:
        return next(part for part in self.text.split("\n## ") if part.startswith(heading))

    def line(self, start: str) -> str:
        return next(line for line in self.text.splitlines() if line.startswith(f"| {start}"))

    def cells(self, start: str) -> list[str]:
        return [cell.strip() for cell in self.line(start).split("|")[1:-1]]

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
    return read_runs(collected(builder, builder.folder.parent)[0])


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


def check_files(name: str, runs: Path, curves: Path, *more: Path) -> None:
    """The same figure gives the same bytes, carries no date, is wide enough for a README and is not blank."""
    found = []
    for attempt in ("first", "second"):
        svg, png = (runs.with_name(f"{attempt}.{suffix}") for suffix in ("svg", "png"))
        make_figure(name, runs, curves, PUBLISHED, svg, png, *more)
        found.append((svg.read_bytes(), png.read_bytes()))
    assert found[0] == found[1]
    assert b"<dc:date>" not in found[0][0]
    pixels = matplotlib.image.imread(runs.with_name("first.png"))
    assert pixels.shape[1] >= 1500
    assert np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0).shape[0] > 20
