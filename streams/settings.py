"""Settings of every command and worker: ``LEADSTREAM_*`` environment variables, or arguments.

Nothing is read at import; commands call :func:`load`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_EXAMPLES = Path(__file__).resolve().parent.parent / "infra" / "dev" / "workspaces"


class Settings(BaseSettings):
    """All settings, with their defaults; see the README's table."""

    model_config = SettingsConfigDict(env_prefix="LEADSTREAM_", extra="ignore")

    kafka_bootstrap: str = Field("", description="host:port,… of Kafka; empty: the dev broker")
    topic_prefix: str = Field("", description="put before every topic, group and transaction name")
    schema_registry_url: str = Field("", description="Confluent-compatible registry; empty: ours")
    workspaces: Path = Field(_EXAMPLES, description="folder of workspace configurations")
    signing_key: Path | None = Field(
        None, description="Ed25519 key (PEM) that signs champions; empty: one for development"
    )
    trusted_keys: Path | None = Field(
        None, description="folder of *.pub.pem whose signatures are believed; empty: development's"
    )
    policy: Literal["barrier", "live"] = Field(
        "live",
        description="learning clock: newest weights (live) or those of the last epoch (barrier)",
    )
    instance: str = Field(
        "", description="stable name of this worker for static membership, e.g. the pod's name"
    )
    metrics_port: int = Field(0, description="/metrics, /livez, /readyz; 0: any free port")
    metrics_host: str = Field("127.0.0.1", description="address the metrics are served on")
    batch_rows: int = Field(32_768, ge=1, description="most records of one transaction")
    session_timeout_s: float = Field(10.0, description="a dead worker's partitions move after it")
    restart_backoff_s: float = Field(1.0, description="pause before a failed task opens again")
    stall_timeout_s: float = Field(120.0, description="lag without progress ends the process")
    dead_letter_limit_per_minute: int = Field(6000, description="more stop the worker")
    on_poison: Literal["isolate", "halt"] = Field(
        "isolate", description="after three failures: isolate the record, or halt the worker"
    )
    compression: str = Field("lz4", description="of what the engine writes: none, lz4, zstd")
    transaction_timeout_ms: int = Field(10_000, description="readers wait at most so long")
    producer_queue_messages: int = Field(200_000, description="librdkafka's queue of one task")
    log_level: str = Field("info", description="debug, info, warning, error")

    def producer_config(self) -> dict[str, Any]:
        """Librdkafka settings of a task's producer."""
        return {
            "bootstrap.servers": self.kafka_bootstrap,
            "compression.type": self.compression,
            "transaction.timeout.ms": self.transaction_timeout_ms,
            "queue.buffering.max.messages": self.producer_queue_messages,
        }


def load(**overrides: Any) -> Settings:
    """Read the environment; keyword arguments that are not ``None`` win."""
    return Settings(**{k: v for k, v in overrides.items() if v is not None})
