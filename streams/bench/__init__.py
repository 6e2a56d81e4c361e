"""Benchmarks that ``leadstream bench`` runs; each is repeatable by anybody with this package."""
