"""The engine: Kafka record batches in, one transaction out, state in numpy tables.

Start reading at ``task.py``; every other file is one part that it puts together.
"""
