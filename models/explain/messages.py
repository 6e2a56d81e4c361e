"""The sentences of explanations by language: `sentences/<language>.yaml`.

What a workspace calls its features and events stands in its features.yaml, in whatever language;
here stand the sentences around them.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml

DEFAULT = "en"


class Messages:
    """The sentences of one language; get one from `messages(language)`."""

    def __init__(self, language: str, sentences: dict[str, str]) -> None:
        self.language = language
        self._sentences = sentences

    @property
    def keys(self) -> frozenset[str]:
        """The names of all sentences."""
        return frozenset(self._sentences)

    def sentence(self, key: str) -> str:
        """A sentence with its {places}; KeyError says which language lacks it."""
        if key not in self._sentences:
            raise KeyError(f"sentences/{self.language}.yaml has no {key!r}. Fix: add it")
        return self._sentences[key]

    def say(self, key: str, **values: str) -> str:
        """A sentence with its places filled."""
        return self.sentence(key).format(**values)

    def counted(self, key: str, count: float, subject: str = "") -> str:
        """The sentence for none, one or many: keys `<key>_none`, `<key>_one`, `<key>_many`."""
        number = self.number(count, ".0f")
        form = {"0": "none", "1": "one"}.get(number, "many")
        one = subject.removesuffix("s")
        return self.say(f"{key}_{form}", count=number, subject=subject, one=one)

    def number(self, value: float, form: str) -> str:
        """A number by a format such as `.1f`, with the language's decimal sign."""
        return f"{value:{form}}".replace(".", self.sentence("decimal"))

    def percent(self, share: float) -> str:
        """A share of 1 as a percentage with one decimal, with two below 1 %."""
        form = ".2f" if 0 < share < 0.01 else ".1f"
        return self.say("percent", amount=self.number(100 * share, form))

    def age(self, days: float) -> str:
        """A time in days as minutes, hours or days."""
        if days < 1 / 24:
            return self.say("minutes", amount=self.number(days * 1440, ".0f"))
        if days < 1:
            return self.say("hours", amount=self.number(days * 24, ".1f"))
        return self.say("days", amount=self.number(days, ".1f"))


def languages() -> tuple[str, ...]:
    """The languages there are, in alphabetical order."""
    names = (path.name for path in files(__package__).joinpath("sentences").iterdir())
    return tuple(sorted(name[:-5] for name in names if name.endswith(".yaml")))


@cache
def messages(language: str = DEFAULT) -> Messages:
    """The sentences of a language such as `en`.

    Raises:
        ValueError: there is no such language.
    """
    if language not in languages():
        raise ValueError(
            f"no explanations in language {language!r}. Fix: one of {', '.join(languages())}, or "
            "add models/explain/sentences/<language>.yaml"
        )
    path = files(__package__).joinpath("sentences").joinpath(f"{language}.yaml")
    return Messages(language, yaml.safe_load(path.read_text(encoding="utf-8")))
