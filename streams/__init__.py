"""leadstream's roles on Kafka: the engine, the processors on it, the topics and the command line.

Start reading at :mod:`streams.topics` (what flows) and ``streams/engine`` (how).
"""
