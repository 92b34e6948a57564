"""What is seen of a run while it goes on: a live view, or plain lines without a terminal."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from typing_extensions import Self

from im_bench.runner.events import Event, EventKind
from im_bench.runner.store import Store
from im_bench.suites.graph import Stage

#: Seconds between two summaries where there is no terminal.
SUMMARY_SECONDS = 10.0

#: Running stages that are shown, and asked how far they are at each redrawing.
LISTENED = 16

_OVER = (
    EventKind.PRESENT,
    EventKind.DONE,
    EventKind.FAILED,
    EventKind.SKIPPED,
    EventKind.PRUNED,
)


class Board:
    """How a run stands, from its events and from what running stages say of themselves.

    Args:
        store: Where running stages say how far they are.
        total: Stages of the plan.
        clock: Monotonic seconds.
    """

    def __init__(
        self, store: Store, total: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.store = store
        self.total = total
        self.running: dict[str, Stage] = {}
        self.said: dict[str, dict[str, Any]] = {}
        self.counts: Counter[EventKind] = Counter()
        self.failures: deque[tuple[str, str]] = deque(maxlen=3)
        self._turn = 0
        self._clock = clock
        self._start = clock()

    def note(self, event: Event) -> None:
        """Take note of an event."""
        stage = event.stage
        if event.what is EventKind.STARTED:
            self.running[stage.key] = stage
            return
        if event.what is not EventKind.WARNING:
            self.running.pop(stage.key, None)
            self.counts[event.what] += 1
        if event.what is EventKind.FAILED:
            self.failures.append((stage.slug, event.detail))

    def listen(self) -> None:
        """Read what some of the running stages say of themselves, others at the next call."""
        running = list(self.running.values())
        first = self._turn % max(len(running), 1)
        for stage in (running[first:] + running[:first])[:LISTENED]:
            if said := self.store.progress(stage):
                self.said[stage.key] = said
        self._turn = first + LISTENED
        for key in set(self.said).difference(self.running):
            del self.said[key]

    @property
    def done(self) -> int:
        """Stages that are done, earlier ones included."""
        return self.counts[EventKind.PRESENT] + self.counts[EventKind.DONE]

    @property
    def waiting(self) -> int:
        """Stages that are neither over nor running."""
        return self.total - self._over - len(self.running)

    @property
    def _over(self) -> int:
        return sum(self.counts[what] for what in _OVER)

    def seconds_left(self) -> float | None:
        """Return the time that the rest takes at the pace so far, if there is a pace."""
        said = list(self.said.items())
        part = sum(share(one) for key, one in said if key in self.running)
        begun = self.counts[EventKind.DONE] + part
        left = self.total - self._over - part
        return (self._clock() - self._start) / begun * left if begun > 0 else None

    def line(self) -> str:
        """Return the state in one line."""
        over = self.counts[EventKind.FAILED]
        parts = [
            f"{self.done} of {self.total} stages done",
            f"{len(self.running)} running",
            f"{self.waiting} waiting",
        ]
        parts += [f"{over} failed"] if over else []
        parts += [f"{n} skipped"] if (n := self.counts[EventKind.SKIPPED]) else []
        left = self.seconds_left()
        return ", ".join(parts) + (f"; about {duration(left)} left" if left else "")


class View(Protocol, AbstractContextManager["View"]):
    """Something that shows a run.

    Attributes:
        board: What it knows; its total may change where stages come while the plan runs.
    """

    board: Board

    def __call__(self, event: Event) -> None:
        """Take note of an event."""


def make_view(store: Store, total: int, console: Console) -> View:
    """Return the view that suits the console.

    Args:
        store: Where running stages say how far they are.
        total: Stages of the plan.
        console: Where to show it.
    """
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveView(store, total, console)
    return PlainView(store, total, console)


def share(progress: dict[str, Any] | None) -> float:
    """Return which part of a stage is done, 0 to 1, by its progress file."""
    try:
        return min(1.0, progress["step"] / progress["total"]) if progress else 0.0
    except (KeyError, TypeError, ZeroDivisionError):
        return 0.0


def duration(seconds: float) -> str:
    """Return a time span in the two units that matter: ``42 s``, ``7 min 30 s``, ``3 h 05 min``."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class LiveView:
    """One view that is redrawn in place; see `make_view` for the arguments."""

    def __init__(self, store: Store, total: int, console: Console) -> None:
        self.board = Board(store, total)
        self._console = console
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=2, transient=True
        )

    def __call__(self, event: Event) -> None:
        """Take note of an event; failures and warnings stay on the screen."""
        self.board.note(event)
        if event.what in (EventKind.FAILED, EventKind.WARNING):
            self._console.print(
                Text.assemble((event.what.value, "red"), f" {event.stage.slug}: {event.detail}"),
                soft_wrap=True,
            )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()
        self._console.print(self.board.line(), highlight=False)

    def _render(self) -> RenderableType:
        running = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        running.add_column("running", overflow="fold")
        for name in ("step", "loss", "images/s", "left"):
            running.add_column(name, justify="right", no_wrap=True)
        self.board.listen()
        shown = sorted(self.board.running.values(), key=lambda stage: stage.slug)
        for stage in shown[:LISTENED]:
            running.add_row(stage.slug, *_said(self.board.said.get(stage.key)))
        if len(shown) > LISTENED:
            running.add_row(f"and {len(shown) - LISTENED} more")
        bar = Table.grid()  # A bar alone does not end its line.
        bar.add_row(ProgressBar(total=max(self.board.total, 1), completed=self.board.done))
        return Group(running, bar, Text(self.board.line(), style="bold"))


def _said(progress: dict[str, Any] | None) -> list[str]:
    """Return step, loss, images per second and time left, as far as the stage has said them."""
    said = progress or {}
    return [
        f"{said['step']}/{said['total']}" if {"step", "total"} <= said.keys() else "",
        f"{said['loss']:.4f}" if "loss" in said else "",
        f"{said['images_per_second']:.0f}" if "images_per_second" in said else "",
        duration(said["eta_s"]) if "eta_s" in said else "",
    ]


class PlainView:
    """Lines with a time, for log files; see `make_view` for the arguments."""

    def __init__(self, store: Store, total: int, console: Console) -> None:
        self.board = Board(store, total)
        self._console = console
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._summaries, name="progress", daemon=True)

    def __call__(self, event: Event) -> None:
        """Print the event."""
        self.board.note(event)
        if event.what is EventKind.PRESENT:
            return
        detail = f": {event.detail}" if event.detail else ""
        self._say(f"{event.what.value} {event.stage.slug}{detail}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._say(self.board.line())

    def _summaries(self) -> None:
        while not self._over.wait(SUMMARY_SECONDS):
            self.board.listen()
            self._say(self.board.line())

    def _say(self, text: str) -> None:
        clock = time.strftime("%H:%M:%S")
        self._console.print(
            f"{clock} {text}", markup=False, highlight=False, soft_wrap=True, emoji=False
        )
