"""The broker's settings: one node that is broker and controller, small, on loopback only."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from pathlib import Path

HOST = "127.0.0.1"

# What differs from Kafka's defaults, for one node on a small machine.
SETTINGS: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    # one node keeps one copy
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # few partitions of its own: they cost files and start time
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "1",
    "num.partitions": "1",
    # a mistyped topic name is an error, not a new topic
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # a dead producer's transaction ends soon after its timeout, not up to 10 s later
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # after kill -9 a new start waits until the session of the dead broker is over
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "message.max.bytes": "8388608",
    "replica.fetch.max.bytes": "8388608",
    # data stays until it is asked to go; topics that expire say so themselves
    "log.retention.ms": "-1",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "log.cleaner.threads": "1",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "num.recovery.threads.per.data.dir": "2",
}

LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.start.name = kafka.server.KafkaRaftServer
logger.start.level = info
"""


def server_properties(data: Path, port: int, controller_port: int, more: Mapping[str, str]) -> str:
    """Return the text of server.properties; `more` wins over what stands here."""
    here = {
        "log.dirs": str(data),
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
    }
    return "".join(f"{key}={value}\n" for key, value in {**SETTINGS, **here, **more}.items())


def port_is_free(port: int) -> bool:
    """Tell whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # like Java's server sockets: what lingers from closed connections does not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(*, other_than: int = 0) -> int:
    """Return a free port below the range that systems hand out to outgoing connections.

    A port of that range could be taken by any client while the broker restarts.
    """
    candidates = random.sample(range(20_000, 30_000), 10_000)
    return next(port for port in candidates if port != other_than and port_is_free(port))
