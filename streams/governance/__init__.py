"""The people's side of models: what happened to them, what would, and commands to the learner.

Everything here reads; the one thing that is written is a command on ``lead.labels``, and what it
causes is the learning role's to decide and to publish.
"""
