"""The contract of every topic: Avro schemas, their history, ids and compatibility.

Depends on nothing else of leadstream and never imports Kafka. Start reading at
:mod:`schemas.registry`.
"""
