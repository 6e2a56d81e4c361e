"""The large fault test: the peer job on a broker of its own, with everything that can go wrong.

``run.py`` is the run, ``workers.py`` the processes that suffer.
"""
