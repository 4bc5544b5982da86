"""PostgreSQL's words in a log, in the languages of its own translations.

Recognised whatever lc_messages is: the words that open a line (ERROR, DETAIL …) and the lines of
log_min_duration_statement, log_duration and log_statement. Everything else (lock waits,
checkpoints, autovacuum …) is read in English only; the report says when it met other languages.
"""

from __future__ import annotations

from typing import NamedTuple

EVENTS = ("LOG", "ERROR", "FATAL", "PANIC", "WARNING", "NOTICE", "INFO", "DEBUG")
PARTS = ("DETAIL", "HINT", "QUERY", "CONTEXT", "LOCATION", "STATEMENT", "BACKTRACE")

# Another language's word -> ours.
TRANSLATED: dict[str, str] = {
    # German
    "FEHLER": "ERROR", "PANIK": "PANIC", "WARNUNG": "WARNING", "HINWEIS": "NOTICE",
    "TIPP": "HINT", "ANFRAGE": "QUERY", "ZUSAMMENHANG": "CONTEXT", "ORT": "LOCATION",
    "ANWEISUNG": "STATEMENT",
    # Spanish
    "DETALLE": "DETAIL", "CONSULTA": "QUERY", "CONTEXTO": "CONTEXT", "UBICACIÓN": "LOCATION",
    "SENTENCIA": "STATEMENT", "SUGERENCIA": "HINT", "PISTA": "HINT", "ADVERTENCIA": "WARNING",
    # French
    "ERREUR": "ERROR", "ATTENTION": "WARNING", "DÉTAIL": "DETAIL", "ASTUCE": "HINT",
    "REQUÊTE": "QUERY", "CONTEXTE": "CONTEXT", "EMPLACEMENT": "LOCATION",
    "INSTRUCTION": "STATEMENT", "FATALE": "FATAL",
    # Italian
    "ERRORE": "ERROR", "PANICO": "PANIC", "ATTENZIONE": "WARNING", "NOTIFICA": "NOTICE",
    "DETTAGLI": "DETAIL", "SUGGERIMENTO": "HINT", "CONTESTO": "CONTEXT", "POSIZIONE": "LOCATION",
    "ISTRUZIONE": "STATEMENT",
    # Portuguese (Brazil)
    "ERRO": "ERROR", "PÂNICO": "PANIC", "AVISO": "WARNING", "NOTA": "NOTICE", "DETALHE": "DETAIL",
    "DICA": "HINT", "COMANDO": "STATEMENT", "LOCAL": "LOCATION",
    # Russian
    "СООБЩЕНИЕ": "LOG", "ОШИБКА": "ERROR", "ВАЖНО": "FATAL", "ПАНИКА": "PANIC",
    "ПРЕДУПРЕЖДЕНИЕ": "WARNING", "ЗАМЕЧАНИЕ": "NOTICE", "ИНФОРМАЦИЯ": "INFO",
    "ОТЛАДКА": "DEBUG", "ПОДРОБНОСТИ": "DETAIL", "ПОДСКАЗКА": "HINT", "ЗАПРОС": "QUERY",
    "КОНТЕКСТ": "CONTEXT", "ПОЛОЖЕНИЕ": "LOCATION", "ОПЕРАТОР": "STATEMENT",
    # Ukrainian
    "ЗАПИСУВАННЯ": "LOG", "ПОМИЛКА": "ERROR", "ФАТАЛЬНО": "FATAL", "ПАНІКА": "PANIC",
    "ПОПЕРЕДЖЕННЯ": "WARNING", "ПОВІДОМЛЕННЯ": "NOTICE", "ВІДОМОСТІ": "DETAIL",
    "УКАЗІВКА": "HINT", "ЗАПИТ": "QUERY", "РОЗТАШУВАННЯ": "LOCATION", "ІНСТРУКЦІЯ": "STATEMENT",
    # Swedish
    "LOGG": "LOG", "FEL": "ERROR", "FATALT": "FATAL", "VARNING": "WARNING",
    "NOTIS": "NOTICE", "DETALJ": "DETAIL", "TIPS": "HINT", "FRÅGA": "QUERY", "KONTEXT": "CONTEXT",
    "PLATS": "LOCATION", "SATS": "STATEMENT",
    # Japanese
    "詳細": "DETAIL", "ヒント": "HINT", "問い合わせ": "QUERY", "文脈": "CONTEXT",
    "コンテキスト": "CONTEXT", "場所": "LOCATION", "文": "STATEMENT", "ステートメント": "STATEMENT",
    "エラー": "ERROR", "ログ": "LOG", "警告": "WARNING",
    # Korean
    "로그": "LOG", "오류": "ERROR", "치명적오류": "FATAL", "손상": "PANIC", "경고": "WARNING",
    "알림": "NOTICE", "정보": "INFO", "디버그": "DEBUG", "상세정보": "DETAIL", "힌트": "HINT",
    "쿼리": "QUERY", "내용": "CONTEXT", "위치": "LOCATION", "명령 구문": "STATEMENT",
    # Chinese
    "日志": "LOG", "错误": "ERROR", "致命错误": "FATAL", "比致命错误还过分的错误": "PANIC",
    "注意": "NOTICE", "信息": "INFO", "调试": "DEBUG", "详细信息": "DETAIL", "提示": "HINT",
    "查询": "QUERY", "上下文": "CONTEXT", "位置": "LOCATION", "语句": "STATEMENT",
}  # fmt: skip

# DEBUG1 … DEBUG5 are DEBUG.
DEBUG_LEVELS = tuple(f"DEBUG{n}" for n in range(1, 6))
ENGLISH: dict[str, str] = {
    **{word: word for word in (*EVENTS, *PARTS)},
    **dict.fromkeys(DEBUG_LEVELS, "DEBUG"),
}
WORDS: dict[str, str] = {**TRANSLATED, **ENGLISH}


class Spoken(NamedTuple):
    """How one language writes the lines of statements: the beginning of each, as a regular
    expression. `duration` ends with the unit; `execute` and `fetch` stand before the name."""

    duration: str
    unit: str
    statement: str
    parse: str
    bind: str
    execute: str
    fetch: str


# From PostgreSQL 15's own message catalogues.
LANGUAGES: dict[str, Spoken] = {
    "de": Spoken(
        "Dauer:", "ms", "Anweisung", "Parsen", "Binden",
        "Ausführen", "Ausführen Fetch von",
    ),
    "es": Spoken(
        "duración:", "ms", "sentencia", "parse:?", "bind",
        "ejecutar", "ejecutar fetch desde",
    ),
    "fr": Spoken(
        "durée :", "ms", "instruction", "analyse", "lien",
        "exécute", "exécute fetch à partir de",
    ),
    "it": Spoken(
        "durata:", "ms", "istruzione", "analisi di", "bind",
        "esecuzione di", "esecuzione di fetch da",
    ),
    "pt": Spoken(
        "duração:", "ms", "comando", "análise", "ligação",
        "executar", "executar busca de",
    ),
    "ru": Spoken(
        "продолжительность:", "мс", "оператор", "разбор", "сообщение Bind",
        "выполнение", "выборка из",
    ),
    "uk": Spoken(
        "тривалість:", "мс", "оператор", "аналізування", "повідомлення bind",
        "виконувати", "виконати витягнення з",
    ),
    "sv": Spoken(
        "varaktighet:?", "ms", "sats", "parse", "bind",
        "kör", "kör hämtning från",
    ),
    "ja": Spoken(
        "期間:", "ミリ秒", "文", "パース", "バインド",
        "実行", "取り出し実行",
    ),
    "zh": Spoken(
        "执行时间:", "ms", "语句", "解析", "绑定",
        "执行", "执行FETCH操作",
    ),
}  # fmt: skip

# A message that begins so may be another language's line of a statement.
FOREIGN_START = "^(?:" + "|".join(
    sorted(
        {spoken.duration for spoken in LANGUAGES.values()}
        | {f"{spoken.statement} ?:" for spoken in LANGUAGES.values()}
        | {f"{word} " for s in LANGUAGES.values() for word in (s.execute, s.fetch)},
    )
) + ")"  # fmt: skip


def rewrites(spoken: Spoken) -> list[tuple[str, str]]:
    """(regular expression, replacement) that turn its lines of statements into English's."""
    took = rf"^{spoken.duration} ([0-9.]+) {spoken.unit}"
    name = r" ?(\S+) ?:[ ]"
    kinds = (
        (spoken.parse, "parse"), (spoken.bind, "bind"), (spoken.fetch, "execute fetch from"),
        (spoken.execute, "execute"),
    )  # fmt: skip
    return [
        (rf"{took}(?:,| {{1,2}}) ?{spoken.statement} ?: ", "duration: $1 ms  statement: "),
        *(
            (rf"{took}(?:,| {{1,2}}) ?{word}{name}", f"duration: $1 ms  {kind} $2: ")
            for word, kind in kinds
        ),
        (rf"{took} {{1,2}}plan:\n", "duration: $1 ms  plan:\n"),
        (rf"{took}$", "duration: $1 ms"),
        (rf"^{spoken.statement} ?: ", "statement: "),
        *((rf"^{word}{name}", f"{kind} $1: ") for word, kind in kinds[2:]),
    ]
