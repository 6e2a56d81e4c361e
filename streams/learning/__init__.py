"""The learning role: labels in, weights and live metrics out. Start at ``processor.py``."""
