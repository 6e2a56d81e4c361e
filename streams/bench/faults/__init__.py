"""The large fault test: on a broker of its own, with everything that can go wrong.

``run.py`` is the command, ``disturb.py`` what goes wrong, ``workers.py`` the processes that suffer,
``peer_job.py`` and ``scoring.py`` what they work on and how it is verified.
"""
