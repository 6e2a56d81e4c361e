"""The exactly-once account: every event that was sent against every score that was read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streams.demo.state import Delivery


class Account:
    """Counts by identity, not by number, so that a loss and a double do not cancel out.

    Args:
        targets: Targets of each workspace; an event is scored once for each.

    Example:
        >>> account = Account({"bank": ["conversion"]})
        >>> account.sent("bank", ["a", "b"])
        >>> account.scored([("bank", "a", "conversion"), ("bank", "a", "conversion")])
        >>> account.delivery().missing, account.delivery().duplicate
        (1, 1)
    """

    def __init__(self, targets: Mapping[str, Iterable[str]]) -> None:
        self._targets = {name: tuple(each) for name, each in targets.items()}
        self._sent: dict[str, set[str]] = {name: set() for name in self._targets}
        self._scored: set[tuple[str, str, str]] = set()
        self._expected = 0
        self._known = 0
        self._records = 0

    def sent(self, workspace: str, event_ids: Iterable[str]) -> None:
        """Events that are about to be sent; an id that was sent before counts once."""
        mine, targets = self._sent[workspace], self._targets[workspace]
        for event_id in event_ids:
            if event_id in mine:
                continue
            mine.add(event_id)
            self._expected += len(targets)
            self._known += sum((workspace, event_id, t) in self._scored for t in targets)

    def scored(self, scores: Iterable[tuple[str, str, str]]) -> None:
        """Scores as they were read: (workspace, event id, target)."""
        for score in scores:
            self._records += 1
            if score in self._scored:
                continue
            self._scored.add(score)
            workspace, event_id, target = score
            if event_id in self._sent.get(workspace, ()) and target in self._targets[workspace]:
                self._known += 1

    @property
    def missing(self) -> int:
        """Scores that were not read back yet."""
        return self._expected - self._known

    def delivery(self) -> Delivery:
        """The account as it stands; a score of an event that was never sent counts as double."""
        return Delivery(
            events=sum(map(len, self._sent.values())),
            expected=self._expected,
            scores=self._known,
            missing=self.missing,
            duplicate=self._records - self._known,
        )
