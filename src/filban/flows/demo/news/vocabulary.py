"""Words, sentences and names in Persian and English, sampled once from Faker's providers.

Faker is asked some thousand times, not once for each article: texts are then composed from the
sample by a seeded `random.Random`, which makes 200,000 articles in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING

from filban.errors import ExtraMissing

if TYPE_CHECKING:
    from faker import Faker

LOCALES = {"fa": "fa_IR", "en": "en_US"}
SECTIONS = {
    "fa": ("سیاست", "اقتصاد", "فرهنگ", "ورزش", "جهان", "دانش", "جامعه"),
    "en": ("politics", "economy", "culture", "sport", "world", "science", "society"),
}
WORDS = 600
NAMES = 200
SENTENCES = 10_000
TITLES = 4_000
# The n-th most frequent item is n times rarer than the first: so for words (Zipf 1935), and
# nearly so for the shares of sites and of tags on a news service.
ZIPF_EXPONENT = 1.0


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """One language's sample; no text carries a tab, a newline or a backslash."""

    words: tuple[str, ...]
    sentences: tuple[str, ...]
    titles: tuple[str, ...]
    people: tuple[str, ...]
    sections: tuple[str, ...]


def seeded(seed: int, what: str) -> Random:
    """Random numbers for one purpose: a table's do not change when another needs more of them."""
    return Random(f"{seed}:{what}")  # noqa: S311 - made-up news, no secrets


def zipf(count: int) -> list[float]:
    """Cumulative weights of `count` ranks, for `random.choices(cum_weights=…)`."""
    return list(accumulate(1 / rank**ZIPF_EXPONENT for rank in range(1, count + 1)))


def vocabulary(language: str, seed: int) -> Vocabulary:
    """The sample of "fa" or "en"; the same for the same seed and version of Faker.

    Raises ExtraMissing when Faker is not installed.
    """
    faker = _faker(language, f"{seed}:vocabulary")
    words = _distinct(faker.words(WORDS, unique=True))
    people = _distinct(faker.name() for _ in range(NAMES))
    named = people + _distinct(f() for f in (faker.city, faker.company) for _ in range(NAMES))
    say = _Sentences(seeded(seed, language), words, named)
    return Vocabulary(
        words=words,
        sentences=tuple(say(8, 20) + "." for _ in range(SENTENCES)),
        titles=tuple(say(5, 9) for _ in range(TITLES)),
        people=people,
        sections=SECTIONS[language],
    )


def domains(language: str, seed: int, count: int) -> tuple[str, ...]:
    """Distinct domain names of `count` sites."""
    faker = _faker(language, f"{seed}:domains")
    found: dict[str, None] = {}
    while len(found) < count:
        found[faker.domain_name()] = None
    return tuple(found)


def require_faker() -> type[Faker]:
    """Faker's class. Raises ExtraMissing: asked before servers are started for nothing."""
    try:
        from faker import Faker
    except ImportError as error:
        raise ExtraMissing("faker", "demo") from error
    return Faker


def _faker(language: str, seed: str) -> Faker:
    faker = require_faker()(LOCALES[language])
    faker.seed_instance(seed)
    return faker


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    """Each text once, in order (a set's order is not reproducible), safe for COPY's text form."""
    return tuple(dict.fromkeys(" ".join(text.replace("\\", " ").split()) for text in texts))


class _Sentences:
    """Composes sentences: words by Zipf's law around one name of a person, place or company."""

    def __init__(self, rng: Random, words: tuple[str, ...], names: tuple[str, ...]) -> None:
        self._rng = rng
        self._words = words
        self._names = names
        self._weights = zipf(len(words))

    def __call__(self, shortest: int, longest: int) -> str:
        count = self._rng.randint(shortest, longest)
        chosen = self._rng.choices(self._words, cum_weights=self._weights, k=count)
        chosen[self._rng.randrange(count)] = self._rng.choice(self._names)
        text = " ".join(chosen)
        return text[0].upper() + text[1:]
