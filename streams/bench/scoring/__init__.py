"""The whole scoring role on real Kafka: throughput, latency, restore, start. See ``run.py``."""
