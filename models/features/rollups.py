"""Account roll-ups: what a lead's company did before an event, told as numbers of that event.

An attribute asks for one by `from: numbers.account.<name>`. Identity counts them, so they are what
was known before the event, and it alone may tell them: a source's own number of an asked name is
dropped. To the models they are attributes like any other.
"""

from __future__ import annotations

from models.features.catalogue import FeatureCatalogue

ROLLUPS = {
    "account.events": "events of the account before",
    "account.leads": "different leads of the account before",
    "account.days_since_last": "days since the account's newest event",
    "account.events_30d": "events of the account before, with weight 2^(-age/30 d)",
    "account.outcomes": "events of the account before that won a deal",
}
"""Names among an event's numbers, and what they say; the order is that of `account_history`."""

HALF_LIFE_DAYS = 30.0
"""Of `account.events_30d`."""


def rollups_of(catalogue: FeatureCatalogue) -> tuple[str, ...]:
    """The names that attributes of a catalogue ask for, in the order of `ROLLUPS`."""
    asked = {str(attribute.source).removeprefix("numbers.") for attribute in catalogue.attributes}
    return tuple(name for name in ROLLUPS if name in asked)
