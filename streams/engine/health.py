"""``/metrics``, ``/livez`` and ``/readyz`` of a worker, on loopback unless told otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams.metrics import EngineMetrics

log = structlog.get_logger(__name__)


class HealthServer:
    """A small HTTP server in a thread of its own.

    Args:
        host: Address to bind.
        port: 0 for any free port; :attr:`port` says which.
        metrics: What ``/metrics`` shows.
        ready: Whether ``/readyz`` answers 200.
    """

    def __init__(
        self, host: str, port: int, metrics: EngineMetrics, ready: Callable[[], bool]
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(200, generate_latest(metrics.registry), CONTENT_TYPE_LATEST)
                elif self.path == "/livez":
                    self._answer(200, b"alive\n")
                elif self.path == "/readyz":
                    is_ready = ready()
                    self._answer(200 if is_ready else 503, b"ready\n" if is_ready else b"opening\n")
                else:
                    self._answer(404, b"try /metrics, /livez or /readyz\n")

            def _answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Requests of probes are not worth a log line."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        """The bound port."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Serve."""
        self._thread.start()
        log.info("metrics_served", port=self.port)

    def stop(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
