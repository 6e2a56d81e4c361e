"""Identity: who is it, is it clean, was it seen before, and how far has event time come?

What belongs here: the role ``identity``, which turns source events (``crm.events``,
``web.events``) into timeline events, opportunities and ticks. What does not: Kafka (the engine's),
features and scores (``scoring``), full merge and un-merge of leads.

Start reading in ``processor.py``. The way of a batch, all of it in columns:

====================  =========================================================================
``validate.py``       refuses events that cannot be used, with a reason a person can act on;
                      ``limits.py`` holds every number, ``validate_maps.py`` looks at maps
``dedup.py``          drops event ids among the last ``dedup_window`` ones of the workspace
``normalise.py``      one spelling for e-mails, URLs, currencies, accounts
``identifiers.py``    identifiers to leads, new leads, links between leads
``watermark.py``      watermark, epochs, lateness, ticks
``rollups.py``        what an account did before, told to events where a feature asks for it;
                      ``account_history.py`` counts it
``timeline.py``       the records of ``lead.timeline``, in order
``opportunities.py``  the records of ``opportunities``
====================  =========================================================================

Rules that subscribers may rely on:

* **All or nothing.** One bad attribute refuses the whole event: half an event would be learned
  from as if it were true. The other events of the batch are not affected. A refused event leaves
  no trace in the state, so its mended repeat may carry the same event id.
* **First seen wins.** An identifier belongs to the lead it was first seen with. An event whose
  identifiers belong to different leads goes to the lead of the strongest one (``user_id``,
  ``crm_id``, ``email``, ``anonymous_id``, then the others by name), and one ``link`` record per
  pair of leads, whichever of the two wins, stands behind the first event that they share.
  Identifiers not seen before join the event's lead. Nothing is merged yet.
* **The watermark** of a workspace is the largest of min(occurred_at, received_at + 5 min) minus
  ``allowed_lateness``; it never falls. An event carries the watermark that holds once it is
  counted in, and as ``epoch`` the epoch in which this watermark lies. ``late`` compares with the
  watermark before the event. Late events are passed on like any other, in the order of arrival.
* **Ticks.** On every partition of ``lead.timeline`` ``tick(n - 1)`` stands before the first event
  of epoch n, also before the first event of a workspace ever. Epochs without events are skipped.
* **Order.** On each partition: the tick, then the event that caused it, then its links. A batch
  without ticks leaves as one set of columns, one with ticks as a set for each partition.
* **Heartbeats.** A source event of kind ``$heartbeat`` (event id, times, no identifiers) moves the
  watermark and gives no timeline event: it closes an import, or speaks for an idle source.
* **Cuts do not matter.** The same events give the same records and the same state, however they
  are cut into batches.

State, per workspace: the tables ``dedup/<workspace>``, ``identifiers/<workspace>`` and
``links/<workspace>``, whose rows are written once, and the blobs ``clock/<workspace>``
(watermark) and ``dedup/<workspace>`` (ids accepted so far). Where features ask for account
roll-ups also the table and blob ``accounts/<workspace>`` (counters; the day of the last eviction)
and the table ``account_leads/<workspace>``.
"""
