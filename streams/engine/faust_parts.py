"""The Faust classes that a worker is built from, with the engine's transport in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import faust
from faust.transport.drivers import aiokafka as faust_driver

from streams.engine.records import RecordSlice
from streams.engine.transport import EngineConsumer

if TYPE_CHECKING:
    from streams.engine.worker import EngineWorker


class _NoProducer(faust_driver.Producer):
    """Faust's own producer is never used; it opens no connection."""

    async def on_start(self) -> None:
        """Nothing."""

    async def on_stop(self) -> None:
        """Nothing."""

    async def flush(self) -> None:
        """Nothing."""


class EngineTransport(faust_driver.Transport):
    """The transport that the worker's Faust app is built with."""

    Consumer = EngineConsumer
    Producer = _NoProducer


class SliceSchema(faust.Schema):
    """Hands the slice to the agent as it is."""

    def loads_key(self, app: Any, message: Any, **kwargs: Any) -> None:
        """Keys are columns of the slice."""
        return

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> RecordSlice:
        """The slice."""
        return cast(RecordSlice, message.value)


class EngineApp(faust.App):
    """A Faust app with the engine's transport."""

    engine: EngineWorker

    def _new_transport(self) -> EngineTransport:
        return EngineTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> EngineTransport:
        return EngineTransport(self.conf.broker_producer, self)


class FaustWorker(faust.Worker):
    """Faust's worker without its banner and its logging set-up; ours is configured already."""

    def _setup_logging(self) -> None:
        """Nothing: see ``streams/logs.py``."""

    def setup_logging(self) -> None:
        """Nothing."""

    async def _sentinel_task(self) -> None:
        """Faust sleeps for a second here before it closes the loop."""
