"""Where events come in from: files, CRMs, trackers. Knows `schemas`, never `streams`."""
