"""Every format is read into the same events; what cannot be read is counted, never fatal."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from filban.errors import UsageError
from filban.profile.logs.frame import SCHEMA
from filban.profile.logs.infer import KNOWN, infer
from filban.profile.logs.prefix import Prefix
from filban.profile.logs.sniff import reader_for
from filban.profile.logs.stderr import StderrLog

AT = "2026-11-23 09:41:00.123 UTC"
TIME = datetime.fromisoformat("2026-11-23 09:41:00.123")


def read(text: str | bytes, prefix: str | None = None):
    data = text.encode() if isinstance(text, str) else text
    reader = reader_for(data, prefix)
    assert reader is not None
    return reader, reader.read(data)


def values(prefix: str) -> dict[str, str]:
    """What a server could put for each escape."""
    return {
        "m": AT, "t": "2026-11-23 09:41:00 UTC", "n": "1795426860.123", "p": "4711", "u": "app",
        "d": "news", "a": "web-1", "h": "10.0.0.7", "r": "10.0.0.7(50000)", "c": "6543ab12.1267",
        "l": "17", "s": "2026-11-23 08:00:00 UTC", "v": "3/99", "x": "0", "e": "00000", "q": "",
        "i": "SELECT", "b": "client backend", "Q": "-77", "P": "", "%": "%",
    }  # fmt: skip


def fill(prefix: str) -> str:
    text = prefix
    for letter, value in values(prefix).items():
        text = text.replace(f"%{letter}", value)
    return text


PREFIXES = [
    *KNOWN,
    "%m [%p][%v] : [%l-1] %q[app=%a] ",
    "%t [%p-%l] %q%u@%d ",
    "%m [%p] %q[user=%u,db=%d,app=%a,host=%h] ",
    "%t [%p]: [%l-1] [trx_id=%x] user=%u,db=%d ",
    "%m [%p][%b][%v][%x] %q[user=%u,db=%d,app=%a] ",
    "pid=%p,user=%u,db=%d,app=%a,client=%h ",
    '%qdatabase="%d" connection_source="%r" user="%u" application_name="%a" ',
    "[%p]: [%l-1] db=%d,user=%u ",
    "%n [%p] %u@%d ",
    "%m [%p] [queryid=%Q] %u@%d ",
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_is_found_by_itself(prefix):
    line = fill(prefix) + "LOG:  duration: 1.500 ms  statement: SELECT 1"
    found = infer([line] * 3)
    assert found is not None
    told = StderrLog(Prefix(prefix)).read(line.encode()).events.rows(named=True)
    inferred = StderrLog(found).read(line.encode()).events.rows(named=True)
    for name in ("time", "pid", "user", "db", "level", "message", "query_id"):
        assert inferred[0][name] == told[0][name], (prefix, found.text)


@pytest.mark.parametrize("apps", [("news api", "psql"), ("[unknown]", "news api"), ("", "worker")])
def test_applications_with_spaces_are_not_the_database(apps):
    head = f"{AT} [7] app@news"
    lines = [f"{head} {app} LOG:  duration: 1.5 ms  statement: SELECT 1" for app in apps * 3]
    lines.append(f"{AT} [1] LOG:  checkpoint starting: time")
    found = infer(lines)
    assert found is not None
    assert found.text == "%m [%p] %q%u@%d %a "
    rows = StderrLog(found).read("\n".join(lines).encode()).events.rows(named=True)
    assert {row["db"] for row in rows} == {"news", None}
    assert {row["app"] for row in rows[:2]} == {
        app if app.strip("[") != "unknown]" and app else None for app in apps
    }


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_given_prefix_is_used(prefix):
    line = fill(prefix) + "ERROR:  division by zero"
    _, batch = read(line, prefix)
    (event,) = batch.events.rows(named=True)
    assert (event["level"], event["message"]) == ("ERROR", "division by zero")
    wanted = {"u": ("user", "app"), "d": ("db", "news"), "a": ("app", "web-1"), "p": ("pid", 4711)}
    for letter, (name, value) in wanted.items():
        if f"%{letter}" in prefix:
            assert event[name] == value
    assert batch.unread.count == 0


def test_a_prefix_that_postgresql_does_not_know():
    with pytest.raises(UsageError, match="%z"):
        reader_for(b"x", "%z ")


def test_background_processes_have_no_user():
    text = f"{AT} [1] LOG:  checkpoint starting: time\n{AT} [2] app@news LOG:  hello\n"
    reader, batch = read(text)
    assert reader.format == "stderr"
    assert batch.events["user"].to_list() == [None, "app"]


def test_unknown_is_nobody():
    _, batch = read(f"{AT} [9] [unknown]@[unknown] LOG:  connection received: host=::1 port=1\n")
    assert batch.events.select("user", "db").rows() == [(None, None)]


def test_continuations_details_and_other_processes_lines():
    text = (
        f"{AT} [1] a@d LOG:  duration: 2.000 ms  statement: SELECT 1,\n"
        "\t  2\n"
        "\n"
        f'{AT} [2] b@d ERROR:  relation "x" does not exist at character 15\n'
        f"{AT} [1] a@d DETAIL:  Parameters: $1 = '7'\n"
        f"{AT} [2] b@d STATEMENT:  SELECT *\n"
        "\tFROM x\n"
    )
    _, batch = read(text)
    first, second = batch.events.rows(named=True)
    assert first["message"] == "duration: 2.000 ms  statement: SELECT 1,\n  2\n"
    assert first["detail"] == "Parameters: $1 = '7'"
    assert second["statement"] == "SELECT *\nFROM x"
    assert batch.unread.count == 0


def test_foreign_and_half_lines_are_counted():
    lines = [f"{AT} [{n}] a@d LOG:  line {n}\n\tmore\n" for n in range(50)]
    text = "half of a line\n" + "".join(lines) + "sh: pg_dump: not found\n2026-11-23 09:4"
    _, batch = read(text)
    assert batch.events.height == 50
    assert batch.unread.count == 3
    assert "sh: pg_dump: not found" in batch.unread.samples


def test_verbose_error_messages():
    text = f"{AT} [1] LOG:  00000: hello\n{AT} [1] ERROR:  22012: division by zero\n"
    text += f"{AT} [1] LOCATION:  int4div, int.c:870\n"
    _, batch = read(text)
    assert batch.events.select("sqlstate", "message").rows() == [
        ("00000", "hello"),
        ("22012", "division by zero"),
    ]


LANGUAGES = {
    "de": ("LOG", "Dauer: 3.25 ms  Anweisung: SELECT 1", "FEHLER", "DETAIL", "ANWEISUNG"),
    "fr": ("LOG", "durée : 3.25 ms, instruction : SELECT 1", "ERREUR", "DÉTAIL", "INSTRUCTION "),
    "es": ("LOG", "duración: 3.25 ms  sentencia: SELECT 1", "ERROR", "DETALLE", "SENTENCIA"),
    "ja": ("LOG", "期間: 3.25 ミリ秒  文: SELECT 1", "ERROR", "詳細", "文"),
    "ru": (
        "СООБЩЕНИЕ", "продолжительность: 3.25 мс, оператор: SELECT 1", "ОШИБКА", "ПОДРОБНОСТИ",
        "ОПЕРАТОР",
    ),
    "zh": ("日志", "执行时间: 3.25 ms 语句: SELECT 1", "错误", "详细信息", "语句"),
    "it": ("LOG", "durata: 3.25 ms  istruzione: SELECT 1", "ERRORE", "DETTAGLI", "ISTRUZIONE"),
    "sv": ("LOGG", "varaktighet: 3.25 ms  sats: SELECT 1", "FEL", "DETALJ", "SATS"),
}  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_other_languages(language):
    from filban.profile.logs import Analysis

    log, duration, error, detail, statement = LANGUAGES[language]
    text = (
        f"{AT} [1] a@d {log}:  {duration}\n"
        f"{AT} [1] a@d {error}:  something\n"
        f"{AT} [1] a@d {detail}:  because\n"
        f"{AT} [1] a@d {statement}:  SELECT 2\n"
    )
    _, batch = read(text)
    assert batch.unread.count == 0
    analysis = Analysis()
    analysis.take(batch)
    analysis.finish()
    report = analysis.report([])
    (found,) = report.statements
    assert (found.calls, found.total_ms, found.query) == (1, 3.25, "SELECT $1")
    (failure,) = report.errors
    assert (failure.level, failure.detail, failure.statement) == ("ERROR", "because", "SELECT 2")


EXECUTED = {
    "de": "Dauer: 1.5 ms  Ausführen S_1/C_2: SELECT 1",
    "fr": "durée : 1.5 ms  exécute S_1/C_2: SELECT 1",
    "es": "duración: 1.5 ms  ejecutar S_1/C_2: SELECT 1",
    "ru": "продолжительность: 1.5 мс  выполнение S_1/C_2: SELECT 1",
    "ja": "期間: 1.5 ミリ秒  実行 S_1/C_2: SELECT 1",
}


@pytest.mark.parametrize("language", EXECUTED)
def test_other_languages_executions(language):
    from filban.profile.logs import Analysis

    _, batch = read(f"{AT} [1] a@d LOG:  {EXECUTED[language]}\n")
    analysis = Analysis()
    analysis.take(batch)
    analysis.finish()
    (found,) = analysis.report([]).statements
    assert (found.calls, found.total_ms) == (1, 1.5)


CSV = (
    f'{AT},"app","news",4711,"10.0.0.7:50000",6543ab12.1267,17,"SELECT",2026-11-23 08:00:00 UTC,'
    '3/99,0,LOG,00000,"duration: 1.500 ms  statement: SELECT ""a"",\n \'b\'",,,,,,,,,"web 1",'
    '"client backend",,-77\n'
)


def test_csvlog():
    reader, batch = read(CSV * 3)
    assert reader.format == "csvlog"
    assert list(batch.events.columns) == list(SCHEMA)
    event = batch.events.rows(named=True)[1]
    assert (event["time"], event["pid"], event["user"], event["db"]) == (TIME, 4711, "app", "news")
    assert event["message"].endswith("SELECT \"a\",\n 'b'")
    assert (event["app"], event["query_id"], event["sqlstate"]) == ("web 1", -77, "00000")


@pytest.mark.parametrize("columns", [23, 24, 26])
def test_csvlog_of_older_servers(columns):
    fields = CSV.rstrip("\n").replace('"web 1","client backend",,-77', "").split(",")
    tail = ['"web 1"', '"client backend"', "", "-77"][: columns - 22]
    head = CSV[: CSV.index('"web 1"')]
    record = head + ",".join(tail) + "\n"
    assert fields
    _, batch = read(record * 2)
    assert batch.events["app"].to_list() == ["web 1", "web 1"]
    assert batch.unread.count == 0


@pytest.mark.parametrize("where", range(5, len(CSV) - 2, 7))
def test_a_torn_csv_record_takes_nobody_with_it(where):
    text = CSV * 2 + CSV[:where] + "\n" + CSV * 2
    _, batch = read(text)
    assert batch.events.height >= 4
    whole = [m for m in batch.events["message"] if m.endswith("SELECT \"a\",\n 'b'")]
    assert len(whole) >= 4
    assert batch.events.height + batch.unread.count == 5


def test_csv_inside_a_statement_is_a_statement():
    inner = CSV.replace('"', '""')
    record = CSV.replace('SELECT ""a"",\n \'b\'', f"INSERT INTO log VALUES ('{inner}\n{inner}')")
    reader, batch = read(CSV + record + CSV)
    assert batch.events.height == 3
    data = (CSV + record + CSV).encode()
    assert reader.cut(data) == len((CSV + record).encode())


JSON = json.dumps(
    {
        "timestamp": AT, "user": "app", "dbname": "news", "pid": 4711, "remote_host": "10.0.0.7",
        "remote_port": 50000, "session_id": "6543ab12.1267", "line_num": 17, "ps": "SELECT",
        "session_start": "2026-11-23 08:00:00 UTC", "vxid": "3/99", "txid": 0,
        "error_severity": "LOG", "message": "duration: 1.500 ms  statement: SELECT \"a\",\n 'b'",
        "application_name": "web 1", "backend_type": "client backend", "query_id": -77,
    }
) + "\n"  # fmt: skip


def test_jsonlog_is_as_csvlog():
    reader, batch = read(JSON * 2)
    assert reader.format == "jsonlog"
    of_csv = read(CSV * 2)[1].events.drop("host", "sqlstate")
    assert batch.events.drop("host", "sqlstate").equals(of_csv)


def test_jsonlog_with_numbers_as_texts():
    line = {
        "timestamp": AT, "pid": "17", "error_severity": "LOG", "message": "x", "query_id": "-5",
    }  # fmt: skip
    _, batch = read(json.dumps(line) + "\n")
    assert batch.events.select("pid", "query_id").row(0) == (17, -5)
    assert batch.unread.count == 0


@pytest.mark.parametrize("where", range(1, len(JSON) - 2, 11))
def test_a_torn_json_line_takes_nobody_with_it(where):
    _, batch = read(JSON * 2 + JSON[:where] + "\n" + JSON * 2)
    assert (batch.events.height, batch.unread.count) == (4, 1)


def test_other_encodings_and_nul():
    line = f"{AT} [1] a@d LOG:  duration: 1.0 ms  statement: SELECT 'x'\n".encode()
    data = line.replace(b"'x'", b"'\xe9t\xe9'") + b"\0" * 100 + line
    _, batch = read(data)
    assert batch.events.height == 2
    json_data = JSON.encode().replace(b"web 1", b"web \xff") * 2
    assert read(json_data)[1].events.height == 2
    csv_data = CSV.encode().replace(b"web 1", b"web \xff") * 2
    assert read(csv_data)[1].events.height == 2


def syslog(pid: int, number: int, pieces: list[str]) -> list[str]:
    return [
        f"Nov 23 09:41:00 db1 postgres[{pid}]: [{number}-{n}] {piece}"
        for n, piece in enumerate(pieces, 1)
    ]


def test_syslog_puts_pieces_together():
    prefix = "user=app,db=news,app=web,client=10.0.0.7 "
    said = f"{prefix}LOG:  duration: 1.500 ms  execute S_1: SELECT a"
    one = syslog(11, 3, [said, " , b", "#011FROM t", f"{prefix}DETAIL:  Parameters: $1 = '7'"])
    two = syslog(12, 9, [f"{prefix}ERROR:  syntax error", f"{prefix}STATEMENT:  SELEC 1"])
    mixed = [one[0], two[0], one[1], one[2], two[1], one[3]]
    other = "Nov 23 09:41:00 db1 sshd[99]: Accepted publickey for root"
    reader, batch = read("\n".join([*mixed, other]) + "\n")
    assert reader.format == "syslog"
    events = sorted(batch.events.rows(named=True), key=lambda e: e["pid"])
    assert [e["pid"] for e in events] == [11, 12]
    assert events[0]["message"] == "duration: 1.500 ms  execute S_1: SELECT a , b\nFROM t"
    assert events[0]["detail"] == "Parameters: $1 = '7'"
    assert events[1]["statement"] == "SELEC 1"
    assert events[0]["user"] == "app"
    assert batch.unread.count == 0


def test_rfc5424_and_times_of_the_prefix():
    line = f"<134>1 2026-11-23T09:41:00.5Z db1 postgres 77 - - [2-1] {AT} [77] app@news LOG:  hello"
    _, batch = read(line + "\n")
    assert batch.events.select("time", "pid", "message").rows() == [(TIME, 77, "hello")]


def test_heroku():
    head = "2026-11-23T09:41:00+00:00 app[postgres.4849]: [GREEN]"
    lines = [
        f"{head} [18-1]  sql_error_code = 40P01 ERROR:  deadlock detected",
        f"{head} [18-2]  sql_error_code = 40P01 DETAIL:  Process 1 waits for ShareLock on "
        "transaction 5; blocked by process 2.",
        f"{head} [18-3] \tProcess 2 waits for ShareLock on transaction 6; blocked by process 1.",
    ]
    _, batch = read("\n".join(lines) + "\n")
    (event,) = batch.events.rows(named=True)
    assert (event["pid"], event["sqlstate"]) == (4849, "40P01")
    assert event["detail"].count("\n") == 1


def test_cloudnativepg():
    record = {
        "log_time": AT, "user_name": "app", "database_name": "news", "process_id": "4711",
        "connection_from": "10.0.0.7:50000", "error_severity": "ERROR", "sql_state_code": "22012",
        "message": "division by zero", "query": "SELECT 1/0", "application_name": "web",
        "query_id": "-77",
    }  # fmt: skip
    lines = [
        json.dumps({"level": "info", "msg": "Starting", "logger": "setup", "logging_pod": "n-1"}),
        json.dumps({"level": "info", "logger": "postgres", "msg": "record", "record": record}),
        "not json at all",
    ]
    for chosen, unread in ((lines[:2], 0), (lines, 1)):
        reader, batch = read("\n".join(chosen) + "\n")
        assert reader.format == "cnpg"
        (event,) = batch.events.rows(named=True)
        assert (event["pid"], event["user"], event["time"]) == (4711, "app", TIME)
        assert (event["statement"], event["query_id"]) == ("SELECT 1/0", -77)
        assert batch.unread.count == unread


def cloud_entry(n: int) -> dict[str, str]:
    return {
        "insertId": f"s={n}",
        "textPayload": f"2026-11-23 09:41:0{n}.123 UTC [{n}]: [1-1] db=news,user=app LOG:  "
        f"duration: {n}.000 ms  statement: SELECT\n{n}",
        "timestamp": f"2026-11-23T09:41:0{n}.123Z",
    }


@pytest.mark.parametrize("shape", ["lines", "array", "pretty"])
def test_cloud_sql(shape):
    entries = [cloud_entry(n) for n in (3, 2, 1)]  # the newest first, as gcloud prints them
    if shape == "lines":
        text = "".join(json.dumps(entry) + "\n" for entry in entries)
    else:
        text = json.dumps(entries, indent=2 if shape == "pretty" else None) + "\n"
    reader, batch = read(text)
    assert reader.format == "cloudsql"
    assert batch.events["pid"].to_list() == [1, 2, 3]
    assert batch.events["message"][0] == "duration: 1.000 ms  statement: SELECT\n1"
    assert batch.unread.count == 0


def test_docker():
    line = f"{AT} [7] app@news LOG:  hello\n"
    text = "".join(
        json.dumps({"log": part, "stream": "stderr", "time": "2026-11-23T09:41:00Z"}) + "\n"
        for part in (line, f"{AT} [7] app@news LOG:  more\n", "\tof it\n")
    )
    reader, batch = read(text)
    assert reader.format == "docker"
    assert batch.events["message"].to_list() == ["hello", "more\nof it"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello\nworld\n",
        '{"a": 1}\n',
        "2026-11-23 09:41:00.123 UTC [1] PgBouncer started\n",
        "[1, 2]",
    ],
)
def test_what_is_no_log_of_postgresql(text):
    assert reader_for(text.encode()) is None


def test_a_csv_piece_without_a_whole_record():
    reader, _ = read(CSV * 2)
    batch = reader.read(CSV.encode()[1:])
    assert (batch.events.height, batch.unread.count) == (0, 1)
