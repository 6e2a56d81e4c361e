"""Orchestrates the demo: broker, topics, workers, streams, the watching, the check, the stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from connectors.files.kafka_sink import KafkaSink
from streams.demo.feeds import SOURCES, Feed, Sender, prepare
from streams.demo.fresh import fresh_topics, kernels_compiled
from streams.demo.plan import DEFAULT_STREAM_S, Plan
from streams.demo.processes import Workers, only_one, stop_leftovers
from streams.demo.state import DemoState, RoleState, Step, WorkspaceState
from streams.demo.watch import Watcher
from streams.engine.errors import LeadstreamError
from streams.settings import Settings
from streams.topics import ROLE_INPUTS

T = TypeVar("T")

_READY_S = 180.0
_FIRST_S = 120.0
_DRAIN_S = 20.0
_LABELS_S = 5.0
_TURN_S = 0.25
_RESTARTS = 3


class DemoFailed(LeadstreamError):
    """The demo cannot go on; the message says what to look at."""


class Demo:
    """One run. `stop` may be set from a signal handler at any time.

    Args:
        plan: What to run.
        show: Called with the state some four times a second, from the calling thread.
        began: When the command began, on ``time.monotonic``.
    """

    def __init__(
        self, plan: Plan, show: Callable[[DemoState], None], began: float | None = None
    ) -> None:
        self.state = DemoState(roles=[RoleState(role) for role in ROLE_INPUTS])
        self.stop = threading.Event()
        self._plan, self._show = plan, show
        self._began = time.monotonic() if began is None else began
        self._steps: list[Step] = []
        self._workers: Workers | None = None
        self._watcher: Watcher | None = None
        self._sender: Sender | None = None
        self._feeds: list[Feed] = []

    def run(
        self,
        broker: Future[str],
        broker_says: Callable[[], str] = lambda: "",
        *,
        keep: bool = False,
    ) -> None:
        """Run all of it; afterwards ``state`` holds the figures.

        Args:
            broker: Becomes the broker's address.
            broker_says: What it does meanwhile.
            keep: Leave the workers running.

        Raises:
            LeadstreamError: it could not be run to its end; what was started is stopped.
        """
        with only_one(self._plan.folder), ThreadPoolExecutor(2, "prepare") as pool:
            feeds = pool.submit(self._prepare)
            try:
                self._start(pool, broker, broker_says, feeds)
                self._stream()
                self._drain()
            except BaseException:
                self._finish(pool, keep=False)
                raise
            self._finish(pool, keep=keep)
            self._refresh("done")  # the account closes after the last record was read

    @property
    def elapsed_s(self) -> float:
        """Since the command began."""
        return time.monotonic() - self._began

    # -- phases

    def _prepare(self) -> list[Feed]:
        # one after the other: msgspec crashes when two threads meet a type for the first time
        return [prepare(name, self._plan.data, self._plan.limit) for name in SOURCES]

    def _start(
        self,
        pool: ThreadPoolExecutor,
        broker: Future[str],
        broker_says: Callable[[], str],
        feeds: Future[list[Feed]],
    ) -> None:
        from streams.app import ROLES, workspaces_of

        plan = self._plan
        with self._step("Kafka broker") as say:
            address = self._await(broker, lambda: say(broker_says()))
            settings = plan.settings.model_copy(update={"kafka_bootstrap": address})
        self.state = replace(self.state, bootstrap=address)
        with self._step(f"topics {settings.topic_prefix}*") as say:
            left = stop_leftovers(plan.folder)
            if left:
                say(f"stopped {left} workers that an earlier demo left")
            partitions = self._await(pool.submit(fresh_topics, settings, list(ROLES)))
        with self._step("workers") as say:
            cold = not kernels_compiled()
            self._workers = Workers(settings, list(ROLES), plan.folder)
            self._workers.start()
            self._feeds = self._await(feeds)
            configs = workspaces_of(settings)
            known = {feed.workspace: configs[feed.workspace] for feed in self._feeds}
            self._watcher = Watcher(
                settings, partitions, known, self._workers, lambda: self.elapsed_s
            )
            self._watcher.start()
            self._sender = self._new_sender(settings)  # connects while the workers start
            self._wait_ready(say, "compiling kernels (first start only)" if cold else "")

    def _new_sender(self, settings: Settings) -> Sender:
        assert self._watcher is not None
        topics = sorted({feed.topic for feed in self._feeds})
        sink = KafkaSink(settings.kafka_bootstrap, topics, settings.topic_prefix)
        rate = self._plan.rate or sum(feed.total for feed in self._feeds) / DEFAULT_STREAM_S
        return Sender(self._feeds, sink, rate, self._watcher.sending)

    def _wait_ready(self, say: Callable[[str], None], remark: str) -> None:
        assert self._workers is not None
        from streams.demo import scrape

        deadline = time.monotonic() + _READY_S
        waiting = list(self._workers.roles)
        while waiting and not self.stop.is_set():
            for role in list(waiting):
                port = self._workers.port(role)
                if port is not None and scrape.ready(port):
                    waiting.remove(role)
            self._check_workers()
            if time.monotonic() > deadline:
                raise DemoFailed(
                    f"{', '.join(waiting)} did not become ready within {_READY_S:.0f} s; see "
                    f"{self._workers.log(waiting[0])}"
                )
            say(f"waiting for {', '.join(waiting)}; {remark}".rstrip("; ") if waiting else "")
            self._refresh()
            self.stop.wait(0.1)

    def _stream(self) -> None:
        if self.stop.is_set() or self._sender is None:
            return
        assert self._watcher is not None
        with self._step("first score"):
            self._sender.start()
            deadline = time.monotonic() + _FIRST_S
            while self._watcher.first_score_s is None and self._sending():
                self._turn("first events")
                if time.monotonic() > deadline:
                    raise DemoFailed(
                        f"no score within {_FIRST_S:.0f} s of the first event; see the logs in "
                        f"{self._plan.folder}"
                    )
        self._sender.go_on()
        while self._sending():
            self._turn("streaming")

    def _sending(self) -> bool:
        sender, seconds = self._sender, self._plan.seconds
        assert sender is not None
        passed = 0.0 if sender.began is None else time.monotonic() - sender.began
        over = seconds is not None and passed > seconds
        return sender.running and not over and not self.stop.is_set()

    def _drain(self) -> None:
        """Wait until everything sent is scored, and learned, or nothing moves any more."""
        if self._sender is None or not any(self._sender.sent.values()):
            return
        assert self._watcher is not None
        self._sender.stop()
        self._check_sender()
        began = moved = time.monotonic()
        missing = self._watcher.delivery().missing
        while missing and time.monotonic() - moved < _DRAIN_S:
            self._turn("reading back")
            now = self._watcher.delivery().missing
            if now != missing:
                missing, moved = now, time.monotonic()
        while time.monotonic() - began < _LABELS_S and any(r.lag for r in self.state.roles):
            self._turn("reading back")

    def _finish(self, pool: ThreadPoolExecutor, *, keep: bool) -> None:
        if self._sender is not None:
            self._sender.stop()
        self.state = replace(self.state, phase="stopping the workers")
        if self._workers is not None:
            self._await(pool.submit(self._workers.leave if keep else self._workers.stop))
        if self._watcher is not None:
            self._await(pool.submit(self._watcher.stop))

    def _await(self, future: Future[T], meanwhile: Callable[[], None] = lambda: None) -> T:
        """The future's result; the view goes on until it is there."""
        while not future.done():
            meanwhile()
            self._show(self._shown())
            wait([future], _TURN_S)
        return future.result()

    # -- what is shown

    def _turn(self, phase: str) -> None:
        self._check_workers()
        self._check_sender()
        self._refresh(phase)
        time.sleep(_TURN_S)

    def _refresh(self, phase: str | None = None) -> None:
        watcher, sender = self._watcher, self._sender
        state = replace(self._shown(), phase=phase or self.state.phase)
        if watcher is not None:
            if watcher.error is not None:
                raise DemoFailed(f"the topics cannot be read back: {watcher.error}")
            known = [
                WorkspaceState(
                    f.workspace, f.what, "", sender.sent[f.workspace] if sender else 0, f.total
                )
                for f in self._feeds
            ]
            state = replace(
                state,
                first_score_s=watcher.first_score_s,
                roles=watcher.roles(),
                workspaces=watcher.workspaces(known),
                delivery=watcher.delivery(),
                latency_ms=watcher.latency_ms(),
                recent_latency_ms=watcher.latency_ms(last_s=10.0),
            )
        self.state = state
        self._show(state)

    def _shown(self) -> DemoState:
        """The state with the clock and the steps as of now."""
        return replace(self.state, elapsed_s=self.elapsed_s, steps=tuple(self._steps))

    @contextmanager
    def _step(self, what: str) -> Iterator[Callable[[str], None]]:
        """A step that is shown with the time it takes; the function adds a remark."""
        began = time.monotonic()
        self._steps.append(Step(what))

        def say(remark: str) -> None:
            self._steps[-1] = replace(self._steps[-1], remark=remark)

        self._show(self._shown())
        yield say
        self._steps[-1] = replace(self._steps[-1], seconds=time.monotonic() - began)

    # -- what may go wrong

    def _check_workers(self) -> None:
        assert self._workers is not None
        for role in self._workers.roles:
            if self._workers.restarts(role) >= _RESTARTS:
                complaint = self._workers.complaint(role)
                raise DemoFailed(
                    f"the worker of {role} ended {_RESTARTS} times"
                    f"{f': {complaint}' if complaint else ''}; its log: {self._workers.log(role)}"
                )

    def _check_sender(self) -> None:
        if self._sender is not None and self._sender.error is not None:
            raise DemoFailed(f"events cannot be sent: {self._sender.error}")
