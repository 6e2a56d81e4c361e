"""The scoring role: timeline events in, scores with reasons out. Start at ``processor.py``."""
