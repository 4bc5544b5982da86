"""`python -m filban.flows.demo.news.generate TABLE`: one table as COPY's text form on stdout.

A process of its own, so that generating and loading use a core each; the loader pipes what it
prints to the server unread. The same seed and number of articles give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from filban.flows.demo.news.vocabulary import (
    LOCALES,
    Vocabulary,
    domains,
    seeded,
    vocabulary,
    zipf,
)

SITES = 120
PERSIAN_SITES = 72
TAGS_PER_LANGUAGE = 1_000
# The archive ends on a fixed day, so that a seed gives the same rows whenever it is used.
LAST_DAY = datetime(2026, 11, 1, tzinfo=UTC)
ARCHIVE = timedelta(days=5 * 365)
# Lengths of news articles are close to log-normal: here a median of 11 sentences (150 words), and
# one article in forty above 36.
MEDIAN_LOG_SENTENCES = 2.4
SIGMA_LOG_SENTENCES = 0.6
LONGEST_SENTENCES = 80
SENTENCES_IN_PARAGRAPH = 4
MOST_TAGS = 6
PARAGRAPH_BREAK = r"\n\n"  # as COPY's text form writes two newlines
FLUSH_ROWS = 500


def sites(seed: int) -> list[tuple[str, str]]:
    """(domain, language) of every site, the largest first; the languages are interleaved."""
    found = [(d, "fa") for d in domains("fa", seed, PERSIAN_SITES)]
    known = {d for d, _ in found}
    english = (d for d in domains("en", seed, SITES) if d not in known)
    found += [(d, "en") for d, _ in zip(english, range(SITES - PERSIAN_SITES), strict=False)]
    seeded(seed, "sites").shuffle(found)
    return found


def site_rows(seed: int, _articles: int) -> Iterator[str]:
    """domain, language."""
    return (f"{domain}\t{language}\n" for domain, language in sites(seed))


def tag_rows(seed: int, _articles: int) -> Iterator[str]:
    """id, name; names are pairs of words, alternating between the languages."""
    rng = seeded(seed, "tags")
    pairs = [_pairs(rng, vocabulary(language, seed).words) for language in LOCALES]
    names = (name for both in zip(*pairs, strict=True) for name in both)
    return (f"{number}\t{name}\n" for number, name in enumerate(names, 1))


def _pairs(rng: Random, words: tuple[str, ...]) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < TAGS_PER_LANGUAGE:
        found[" ".join(rng.sample(words, 2))] = None
    return list(found)


def article_rows(seed: int, articles: int) -> Iterator[str]:
    """id, site_domain, title, content, published_date, metadata; in order of publication."""
    rng = seeded(seed, "articles")
    texts = {language: vocabulary(language, seed) for language in LOCALES}
    places = sites(seed)
    weights = zipf(len(places))
    gap = ARCHIVE / max(articles, 1)
    first = LAST_DAY - ARCHIVE
    for number in range(1, articles + 1):
        domain, language = rng.choices(places, cum_weights=weights)[0]
        words = texts[language]
        published = first + gap * (number - rng.random())
        yield (
            f"{number}\t{domain}\t{rng.choice(words.titles)}\t{_content(rng, words)}\t"
            f"{published.isoformat()}\t{_metadata(rng, words, language)}\n"
        )


def _content(rng: Random, words: Vocabulary) -> str:
    length = int(rng.lognormvariate(MEDIAN_LOG_SENTENCES, SIGMA_LOG_SENTENCES))
    chosen = rng.choices(words.sentences, k=min(max(length, 2), LONGEST_SENTENCES))
    paragraphs = range(0, len(chosen), SENTENCES_IN_PARAGRAPH)
    return PARAGRAPH_BREAK.join(
        " ".join(chosen[at : at + SENTENCES_IN_PARAGRAPH]) for at in paragraphs
    )


def _metadata(rng: Random, words: Vocabulary, language: str) -> str:
    """A JSON object; names and sections need no escapes (`vocabulary` has cleaned them)."""
    author = rng.choice(words.people).replace('"', "")
    section = rng.choice(words.sections)
    return (
        f'{{"language": "{language}", "section": "{section}", "author": "{author}", '
        f'"reads": {int(rng.paretovariate(0.9))}}}'
    )


def article_tag_rows(seed: int, articles: int) -> Iterator[str]:
    """article_id, tag_id: one to six different tags an article, by Zipf's law."""
    rng = seeded(seed, "article_tags")
    tags = range(1, TAGS_PER_LANGUAGE * len(LOCALES) + 1)
    weights = zipf(len(tags))
    for number in range(1, articles + 1):
        chosen = set(rng.choices(tags, cum_weights=weights, k=rng.randint(1, MOST_TAGS)))
        yield "".join(f"{number}\t{tag}\n" for tag in sorted(chosen))


# In the order in which foreign keys want them loaded.
TABLES: dict[str, Callable[[int, int], Iterator[str]]] = {
    "sites": site_rows,
    "tags": tag_rows,
    "articles": article_rows,
    "article_tags": article_tag_rows,
}


def main() -> None:
    """Print one table. Ends quietly when its reader goes away."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--articles", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    out = sys.stdout.buffer
    batch: list[str] = []
    for row in TABLES[options.table](options.seed, options.articles):
        batch.append(row)
        if len(batch) == FLUSH_ROWS:
            out.write("".join(batch).encode())
            batch.clear()
    out.write("".join(batch).encode())
    out.flush()


if __name__ == "__main__":
    main()
