"""Comments of tracing libraries become routes; nothing else does."""

from __future__ import annotations

from test_logs_formats import AT

from filban.profile.logs import Analysis, LogReport
from filban.profile.logs import routes as module
from filban.profile.logs.prefix import Prefix
from filban.profile.logs.rows import Route
from filban.profile.logs.stderr import StderrLog

PREFIX = "%m [%p] %q%u@%d,app=%a "


def report(*texts: str, kind: str = "statement") -> LogReport:
    lines = [
        f"{AT} [7] u@news,app=web LOG:  duration: {number}.000 ms  {kind}: {text}\n"
        for number, text in enumerate(texts, 1)
    ]
    analysis = Analysis()
    analysis.take(StderrLog(Prefix(PREFIX)).read("".join(lines).encode()))
    analysis.finish()
    return analysis.report([])


def test_routes_and_services():
    said = report(
        "SELECT 1 /*route='%2Fa',traceparent='00-1'*/",
        "SELECT 2 /*application='khabar',route='%2Fa',traceparent='00-2'*/;",
        "SELECT 3 /*route='%2Fa',traceparent='00-3'*/",
        "SELECT now() /* a remark */",
        "SELECT 4 /*action='show',controller='news'*/",
    )
    assert said.routes == (
        Route("news#show", "web", 1, 1, 5.0),
        Route("/a", "web", 1, 2, 4.0),
        Route("/a", "khabar", 1, 1, 2.0),
    )
    one = next(s for s in said.statements if s.calls == 4)
    assert set(one.routes) == {"/a", "news#show"}
    assert said.calls == 5


def test_what_only_looks_like_a_label():
    said = report(
        "SELECT '/*route=''x''*/'", "SELECT 1 /*route='x", "SELECT 1 -- route='x'", "SELECT 1 /**/"
    )
    assert said.routes == ()


def test_a_binding_is_no_call():
    said = report("SELECT 1 /*route='x'*/", kind="bind <unnamed>")
    assert sum(route.calls for route in said.routes) == 0


def test_too_many_routes_are_others(monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)
    said = report(*(f"SELECT {n} /*route='{n}'*/" for n in range(5)))
    assert sum(route.calls for route in said.routes) == 5
    assert sorted(route.route for route in said.routes) != []
    assert [r.calls for r in said.routes if r.route == module.OTHERS] == [3]
