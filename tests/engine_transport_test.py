"""What the consumer does in the middle of a rebalance, where a broker is hard to catch."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError
from faust.types import TP

from streams.engine.records import RecordSlice
from streams.engine.transport import EngineConsumer

IN = TopicPartition("in", 0)


def part(start: int, count: int) -> RecordSlice:
    offsets = np.arange(start, start + count, dtype=np.int64)
    none = np.zeros(count, np.int64)
    buffer = np.empty(0, np.uint8)
    return RecordSlice("in", 0, start, buffer, offsets, *[none] * 5, start + count)


class Client:
    """An aiokafka consumer of which one can say what happens while it is asked."""

    def __init__(self) -> None:
        self.rejoin: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._coordinator = SimpleNamespace(_rejoin_needed_fut=self.rejoin)
        self.committed: list[int] = []
        self.refuse = False
        self.meanwhile: Any = lambda: None

    def assignment(self) -> set[TopicPartition]:
        return {IN}

    async def commit(self, offsets: Any) -> None:
        self.meanwhile()
        if self.refuse:
            raise CommitFailedError
        self.committed += [o.offset for o in offsets.values()]

    async def getmany(self, **_: Any) -> Any:
        await asyncio.sleep(0)
        self.meanwhile()
        return {IN: [part(0, 3)]}


class Consumer(EngineConsumer):
    """The engine's consumer without a worker around it."""

    should_stop = False
    flow_active = True

    def __init__(self, client: Client) -> None:
        self._client: Any = client
        self._hints: dict[TP, int] = {}
        self._generation = 0
        self.dropped: list[tuple[str, int]] = []
        self.handed_over: list[RecordSlice] = []
        engine = SimpleNamespace(slice_dropped=lambda t, p: self.dropped.append((t, p)))
        self.app = SimpleNamespace(engine=engine, consumer_generation_id=1)

    async def callback(self, message: Any) -> None:
        self.handed_over.append(message.value)

    async def drain_once(self) -> None:
        fetcher = SimpleNamespace(should_stop=False)
        ask, self._client.getmany = self._client.getmany, None

        async def getmany(**options: Any) -> Any:
            fetcher.should_stop = True
            return await ask(**options)

        self._client.getmany = getmany
        await self._drain(fetcher)


def test_hints_are_kept_until_the_group_takes_them() -> None:
    async def run() -> None:
        client = Client()
        consumer = Consumer(client)
        consumer.acknowledge(IN, 7)
        client.refuse = True
        await consumer.commit()
        client.refuse = False
        await consumer.commit()
        await consumer.commit()
        assert client.committed == [7]

    asyncio.run(run())


def test_nothing_is_committed_while_the_group_waits_for_us_to_join_again() -> None:
    async def run() -> None:
        client = Client()
        consumer = Consumer(client)
        consumer.acknowledge(IN, 7)
        client.rejoin.set_result(None)
        assert not await consumer.commit()
        assert client.committed == []

    asyncio.run(run())


def test_hints_of_an_assignment_end_with_it() -> None:
    async def run() -> None:
        client = Client()
        consumer = Consumer(client)
        consumer.acknowledge(IN, 7)
        consumer.rebalancing()
        await consumer.commit()
        # nor does one that was refused because of the rebalance come back
        consumer.acknowledge(IN, 8)
        client.refuse, client.meanwhile = True, consumer.rebalancing
        await consumer.commit()
        client.refuse, client.meanwhile = False, lambda: None
        await consumer.commit()
        assert client.committed == []

    asyncio.run(run())


def test_slices_are_handed_over() -> None:
    async def run() -> None:
        consumer = Consumer(Client())
        await consumer.drain_once()
        assert [len(p) for p in consumer.handed_over] == [3]
        assert consumer.dropped == []

    asyncio.run(run())


def test_a_slice_fetched_across_a_rebalance_is_asked_for_again() -> None:
    async def run() -> None:
        client = Client()
        consumer = Consumer(client)
        client.meanwhile = consumer.rebalancing
        await consumer.drain_once()
        assert consumer.handed_over == []
        assert consumer.dropped == [("in", 0)]

    asyncio.run(run())
