"""What is seen of a run, with and without a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from im_bench.files import write_json
from im_bench.runner.events import Event, EventKind
from im_bench.runner.progress import (
    LISTENED,
    Board,
    LiveView,
    PlainView,
    duration,
    make_view,
    share,
)
from im_bench.runner.store import Store
from im_bench.suites.graph import Graph, Stage

from .stage_functions import layered_plan


@pytest.fixture
def stages() -> list[Stage]:
    return list(layered_plan(2, 1).graph)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)


def text(view: LiveView | PlainView) -> str:
    file = view._console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def progress(store: Store, stage: Stage, step: int, total: int) -> None:
    said = {"step": step, "total": total, "loss": 0.1234, "images_per_second": 41.6, "eta_s": 75}
    write_json(store.folder(stage).path / "progress.json", said)


def test_counts_and_time_left(store: Store, stages: list[Stage]) -> None:
    clock = Clock()
    board = Board(store, len(stages), clock)
    source, left, right, sink = stages
    assert board.seconds_left() is None
    board.note(Event(EventKind.STARTED, source))
    clock.now = 30
    board.note(Event(EventKind.DONE, source))
    assert board.seconds_left() == pytest.approx(90)
    board.note(Event(EventKind.STARTED, left))
    board.note(Event(EventKind.STARTED, right))
    clock.now = 60
    progress(store, left, 1, 2)
    progress(store, right, 1, 2)
    board.listen()
    # Two stages' worth of work in 60 s, two to go.
    assert board.seconds_left() == pytest.approx(60)
    assert board.line() == ("1 of 4 stages done, 2 running, 1 waiting; about 1 min 00 s left")
    board.note(Event(EventKind.FAILED, left, "why"))
    board.note(Event(EventKind.DONE, right))
    board.note(Event(EventKind.SKIPPED, sink, "needs left"))
    assert board.line() == "2 of 4 stages done, 0 running, 0 waiting, 1 failed, 1 skipped"


def test_what_was_there_before_counts_as_done_but_not_for_the_pace(
    store: Store, stages: list[Stage]
) -> None:
    clock = Clock()
    board = Board(store, len(stages), clock)
    for stage in stages[:2]:
        board.note(Event(EventKind.PRESENT, stage))
    clock.now = 10
    assert board.seconds_left() is None
    assert board.line() == "2 of 4 stages done, 0 running, 2 waiting"
    board.note(Event(EventKind.DONE, stages[2]))
    assert board.seconds_left() == pytest.approx(10)


def test_plain_lines_without_control_characters(store: Store, stages: list[Stage]) -> None:
    view = make_view(store, len(stages), console(terminal=False))
    assert isinstance(view, PlainView)
    with view:
        view(Event(EventKind.PRESENT, stages[3]))
        view(Event(EventKind.STARTED, stages[0]))
        view(Event(EventKind.FAILED, stages[0], "[bold]no[/bold] room"))
    said = text(view)
    assert [line.partition(" ")[2] for line in said.splitlines()] == [
        "started source",
        "failed source: [bold]no[/bold] room",
        "1 of 4 stages done, 0 running, 2 waiting, 1 failed",
    ]
    assert all(character.isprintable() or character == "\n" for character in said)


def test_of_many_running_stages_some_are_asked_at_a_time_and_all_in_turn(store: Store) -> None:
    graph = Graph()
    stages = [graph.add("add", f"s{i:03}", {"value": i}) for i in range(3 * LISTENED)]
    board = Board(store, len(stages))
    for stage in stages:
        board.note(Event(EventKind.STARTED, stage))
        progress(store, stage, 1, 2)
    for calls in (1, 2, 3):
        board.listen()
        assert len(board.said) == calls * LISTENED
    view = LiveView(store, len(stages), console(terminal=True))
    view.board = board
    with view:
        view._live.refresh()
    assert f"and {2 * LISTENED} more" in text(view)


def test_the_live_view_has_a_line_for_each_running_stage(store: Store, stages: list[Stage]) -> None:
    view = make_view(store, len(stages), console(terminal=True))
    assert isinstance(view, LiveView)
    with view:
        for stage in stages[1:3]:
            view(Event(EventKind.STARTED, stage))
        progress(store, stages[1], 3, 12)
        view._live.refresh()
        drawn = text(view)
        view(Event(EventKind.FAILED, stages[2], "no [room]"))
    line = next(line for line in drawn.splitlines() if "layer0/s0" in line)
    for part in ("3/12", "0.1234", "42", "1 min 15 s"):
        assert part in line
    assert "layer0/s1" in drawn
    assert "failed layer0/s1: no [room]" in text(view)
    assert "0 of 4 stages done, 1 running" in text(view).splitlines()[-1]


@pytest.mark.parametrize(
    ("said", "part"),
    [
        (None, 0),
        ({"step": 1, "total": 4}, 0.25),
        ({"step": 5, "total": 4}, 1),
        ({"step": 1, "total": 0}, 0),
        ({"loss": 1}, 0),
        ({"step": "x", "total": 4}, 0),
    ],
)
def test_share(said: dict[str, object] | None, part: float) -> None:
    assert share(said) == part


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (450, "7 min 30 s"), (11100, "3 h 05 min")],
)
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said
