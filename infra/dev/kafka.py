"""A real Apache Kafka broker (KRaft, one node) that needs no set-up: download, start, stop.

    with DevKafka(tmp_path) as broker:
        AdminClient({"bootstrap.servers": broker.bootstrap})

`bootstrap_servers()` is what everything else asks for.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.dev.class_archive import ClassArchive
from infra.dev.errors import BrokerFailed, PortTaken
from infra.dev.jars import kafka_classpath
from infra.dev.java import find_java
from infra.dev.kafka_settings import HOST, LOGGING, free_port, port_is_free, server_properties
from infra.dev.places import dev_folder
from infra.dev.process import POLL_S, BackgroundProcess

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
LOG_LIMIT_BYTES = 10_000_000


def bootstrap_servers(start: bool = True) -> str:
    """Return the broker to use: LEADSTREAM_KAFKA_BOOTSTRAP if given, else the dev broker's address.

    Args:
        start: start the dev broker if it does not run.

    Raises:
        DevError: no broker is there and none could be (or should be) started.
    """
    given = os.environ.get("LEADSTREAM_KAFKA_BOOTSTRAP")
    if given:
        return given
    broker = DevKafka()
    if start:
        broker.start()
    elif not broker.running:
        raise _not_running()
    return broker.bootstrap


class DevKafka:
    """One broker on one folder. Safe to use from several processes: all see the same broker.

    Args:
        folder: where its data, settings and log live; default: `kafka` in the dev folder.
        port: loopback port; default: the folder's last one, else a free one.
        heap: the JVM's -Xmx; default: LEADSTREAM_KAFKA_HEAP or 256m.
        settings: entries of server.properties that replace ours.
        die_with_parent: end it with the calling thread (tests); else it outlives the process.
        say: gets one line of text when something takes long.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int | None = None,
        heap: str | None = None,
        settings: Mapping[str, str] | None = None,
        die_with_parent: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.folder = (folder or dev_folder() / "kafka").resolve()
        self.process = BackgroundProcess(self.folder, "broker")
        self._asked_port = port
        heap = heap or os.environ.get("LEADSTREAM_KAFKA_HEAP") or "256m"
        self._flags = (f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        self._settings = dict(settings or {})
        self._die_with_parent = die_with_parent
        self._say = say or (lambda _line: None)

    @property
    def pid(self) -> int | None:
        """Process id while it runs, else None."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there; `answers` tells whether it serves."""
        return self.process.alive()

    @property
    def port(self) -> int | None:
        """Port of the running broker, or the one that the next start will use; None: any."""
        return self.process.remembered().get("port")

    @property
    def bootstrap(self) -> str:
        """Address for clients, as `127.0.0.1:23456`.

        Raises:
            BrokerFailed: the broker was never started.
        """
        if self.port is None:
            raise _not_running()
        return f"{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """File with what the broker printed."""
        return self.process.log

    def start(self, *, fresh: bool = False) -> Self:
        """Start it unless it runs, and wait until it answers.

        Args:
            fresh: stop it if it runs, and begin with no topics.

        Raises:
            DevError: with what to do about it.
        """
        with self.process.exclusive():
            if self.running and fresh:
                self._stop()
            if not self.running:
                self._launch(fresh=fresh)
            elif self._asked_port not in (None, self.port):
                raise PortTaken(
                    f"The broker runs on port {self.port} already, not on {self._asked_port}.",
                    "Stop it first (`leadstream dev down`), or leave the port out.",
                )
            self._wait_ready(READY_TIMEOUT_S)
        return self

    def stop(self) -> None:
        """Stop it in order (SIGTERM), and wait; nothing happens if it does not run."""
        with self.process.exclusive():
            self._stop()

    def restart(self) -> Self:
        """Stop it in order and start it on the same port and data."""
        self.stop()
        return self.start()

    def kill(self) -> None:
        """End it like a crash (SIGKILL), and wait until it is gone."""
        with self.process.exclusive():
            self.process.signal(signal.SIGKILL)
            self.process.wait_ended(STOP_TIMEOUT_S)

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing answers."""
        self.process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause` (SIGCONT)."""
        self.process.signal(signal.SIGCONT)

    def answers(self, timeout_s: float = 2.0) -> bool:
        """Tell whether it answers a metadata request."""
        from confluent_kafka import KafkaException  # loads librdkafka
        from confluent_kafka.admin import AdminClient

        port = self.port
        if port is None or not self.running:
            return False
        try:
            socket.create_connection((HOST, port), timeout_s).close()
        except OSError:
            return False
        admin = AdminClient({"bootstrap.servers": f"{HOST}:{port}", "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=timeout_s).brokers)
        except KafkaException:
            return False

    def __enter__(self) -> Self:
        """Start it; see `start`."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it; see `stop`."""
        self.stop()

    def _launch(self, *, fresh: bool) -> None:
        last = self.process.remembered()
        port = self._asked_port or last.get("port") or free_port()
        if not port_is_free(port):
            if self._asked_port:
                raise PortTaken(
                    f"Port {port} on {HOST} is taken by another process.",
                    "Stop that process, or choose another port: `leadstream dev up --port N`.",
                )
            self._say(f"Port {port}, the last one, is taken by another process: using another")
            port = free_port()
        controller_port = last.get("controller_port", 0)
        if controller_port in (0, port) or not port_is_free(controller_port):
            controller_port = free_port(other_than=port)
        data = self.folder / "data"
        if fresh:
            shutil.rmtree(data, ignore_errors=True)
        properties = self.folder / "server.properties"
        properties.write_text(server_properties(data, port, controller_port, self._settings))
        (self.folder / "log4j2.properties").write_text(LOGGING)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        java = self._java_command()
        if not (data / "meta.properties").exists():
            self._format(java, properties)
        self.process.start(
            [*java, "kafka.Kafka", str(properties)],
            {"port": port, "controller_port": controller_port},
            die_with_parent=self._die_with_parent,
        )

    def _java_command(self) -> list[str]:
        java = find_java()
        classpath = kafka_classpath(self._say)
        archive = ClassArchive(java, classpath, self._flags)
        return [
            str(java.path),
            *self._flags,
            *archive.start_flags(self._class_list),
            "-XX:-UsePerfData",
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
            "-cp",
            os.pathsep.join(map(str, classpath)),
        ]

    @property
    def _class_list(self) -> Path:
        return self.folder / "classes.list"

    def _format(self, java: list[str], properties: Path) -> None:
        # an id may begin with "-", so it must not stand where an option could
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = [*java, "kafka.tools.StorageTool", "format"]
        command = [*tool, f"--cluster-id={cluster}", "-c", str(properties)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=READY_TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise BrokerFailed(
                f"Kafka could not prepare its data folder:\n{done.stdout}{done.stderr}",
                f"Check that {self.folder} can be written and has space left.",
            )

    def _wait_ready(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            if not self.running:
                raise BrokerFailed(
                    f"The broker ended at its start. The end of its log:\n"
                    f"{self.process.last_lines()}",
                    f"The whole log is {self.log}. `leadstream dev up --fresh` starts with an "
                    "empty data folder.",
                )
            if time.monotonic() > deadline:
                raise BrokerFailed(
                    f"The broker (process {self.pid}) did not answer within {timeout_s:.0f} s. "
                    f"The end of its log:\n{self.process.last_lines()}",
                    f"The whole log is {self.log}. `leadstream dev down` stops the broker.",
                )
            time.sleep(POLL_S)

    def _stop(self) -> None:
        if not self.running:
            return
        self.process.signal(signal.SIGTERM)
        self.resume()  # a frozen process takes no other signal
        if not self.process.wait_ended(STOP_TIMEOUT_S):
            self._say(
                f"The broker did not stop within {STOP_TIMEOUT_S:.0f} s: ending it (kill -9)."
            )
            self.process.signal(signal.SIGKILL)
            if not self.process.wait_ended(STOP_TIMEOUT_S):
                raise BrokerFailed(f"Process {self.pid} does not end.", f"Its log is {self.log}.")
        self._make_class_archive()

    def _make_class_archive(self) -> None:
        if self._class_list.exists():
            archive = ClassArchive(find_java(), kafka_classpath(self._say), self._flags)
            self._say("Preparing faster starts of the broker (once, some seconds)")
            archive.make(self._class_list)


def _not_running() -> BrokerFailed:
    return BrokerFailed(
        "No Kafka broker runs.",
        "Start one with `leadstream dev up`, or let LEADSTREAM_KAFKA_BOOTSTRAP name yours.",
    )
