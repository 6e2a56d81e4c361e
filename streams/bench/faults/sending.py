"""Input that arrives whatever happens to the broker meanwhile."""

from __future__ import annotations

from confluent_kafka import Producer

_FLUSH_S = 120.0


class FaultProof:
    """An idempotent producer that outlives broker restarts.

    Args:
        bootstrap: ``host:port,…``.
    """

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 20,
                "message.timeout.ms": 120_000,
                "queue.buffering.max.messages": 1_000_000,
                "queue.buffering.max.kbytes": 2_000_000,
                "log_level": 0,
            }
        )

    def send(self, topic: str, key: str | bytes, value: bytes) -> None:
        """Queue one message; waits while the queue is full."""
        while True:
            try:
                self._producer.produce(topic, value, key)
                return
            except BufferError:
                self._producer.poll(0.1)

    def flush(self) -> None:
        """Wait until the broker has everything.

        Raises:
            RuntimeError: it did not take it within two minutes.
        """
        if self._producer.flush(_FLUSH_S):
            raise RuntimeError("the input could not be written")
