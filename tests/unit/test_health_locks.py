"""The tree of lock waits: every waiter once, whatever the graph looks like."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from filban.finding import Severity
from filban.health.activity.locks import LockThresholds, blocked
from filban.health.activity.rows import PreparedTransaction
from filban.pg.locks import LockWait, drawn, forest


def session(pid: int, *blocked_by: int, waited: float = 10.0, gids: tuple[str, ...] = ()):
    waits = bool(blocked_by or gids)
    return LockWait(
        pid=pid,
        blocked_by=blocked_by,
        prepared_gids=gids,
        waited_seconds=waited if waits else None,
        lock_mode="ShareLock" if waits else None,
        lock_on="row of public.t" if waits else None,
        backend_type="client backend",
        database="news",
        role="app",
        application="khabar",
        state="active" if waits else "idle in transaction",
        transaction_seconds=12.0,
        query="UPDATE t\n  SET a = 1",
        end_sql=f"SELECT pg_terminate_backend({pid});",
    )


def found(*sessions: LockWait, **limits: float):
    return list(blocked(sessions, [], LockThresholds(**limits)))


def test_nobody_waits():
    assert found() == []


def test_three_levels_and_a_queue():
    """4 waits for 3, which waits for 2 and for 1 (they queue at the same row); 5 for 1."""
    [finding] = found(session(1), session(2, 1), session(3, 1, 2), session(4, 3), session(5, 1))
    assert finding.subject == "pid 1"
    assert finding.evidence["blocked_sessions"].value == 4
    assert finding.fix.sql == "SELECT pg_terminate_backend(1);"
    assert finding.why.splitlines()[1:] == [
        "pid 1 khabar (app on news): idle in transaction, transaction open for 12.0 s: "
        "UPDATE t SET a = 1",
        "└─ pid 2 khabar (app on news): waits 10.0 s for ShareLock on row of public.t: "
        "UPDATE t SET a = 1",
        "   └─ pid 3 khabar (app on news): waits 10.0 s for ShareLock on row of public.t "
        "(and behind pid 1): UPDATE t SET a = 1",
        "      └─ pid 4 khabar (app on news): waits 10.0 s for ShareLock on row of public.t: "
        "UPDATE t SET a = 1",
        "└─ pid 5 khabar (app on news): waits 10.0 s for ShareLock on row of public.t: "
        "UPDATE t SET a = 1",
    ]


def test_two_roots_block_one_waiter():
    one, two = found(session(1), session(2), session(3, 1, 2))
    assert (one.subject, two.subject) == ("pid 1", "pid 2")
    assert "(and behind pid 2)" in one.why
    assert "(and behind pid 1)" in two.why


def test_a_blocker_that_has_gone_in_the_meantime():
    [finding] = found(session(2, 1))
    assert finding.subject == "pid 1"
    assert finding.fix is None


def test_a_prepared_transaction_at_the_root():
    gone = PreparedTransaction("g", "news", True, "app", 9.0, 1, 2, "ROLLBACK PREPARED 'g';")
    [finding] = blocked([session(2, gids=("g",))], [gone], LockThresholds())
    assert finding.subject == "prepared g"
    assert finding.fix.sql == "ROLLBACK PREPARED 'g';"


def test_a_deadlock_is_shown_once():
    [finding] = found(session(1, 2), session(2, 1), session(3, 2))
    assert finding.evidence["blocked_sessions"].value == 2


def test_thresholds_at_their_edges():
    def severity(seconds: float):
        return [f.severity for f in found(session(1), session(2, 1, waited=seconds))]

    assert severity(0.9) == []
    assert severity(1.0) == [Severity.warning]
    assert severity(59.9) == [Severity.warning]
    assert severity(60.0) == [Severity.critical]


graphs = st.dictionaries(
    st.integers(1, 12), st.sets(st.integers(1, 14), max_size=4), min_size=1, max_size=12
)


@given(graphs)
def test_every_waiter_is_in_a_tree_and_once_in_each(graph: dict[int, set[int]]):
    sessions = {f"pid {p}": session(p, *sorted(by - {p})) for p, by in graph.items()}
    trees = forest(sessions)
    for tree in trees:
        nodes = [node for node, _ in tree.walk()]
        assert len(nodes) == len(set(nodes))
        assert len(drawn(tree, sessions).splitlines()) == len(nodes)
    waiting = {node for node, s in sessions.items() if s.blocked_by}
    assert waiting <= {node for tree in trees for node, _ in tree.walk()}
    ends = {t.root for t in trees if not (t.root in sessions and sessions[t.root].blocked_by)}
    blockers = {f"pid {b}" for s in sessions.values() for b in s.blocked_by}
    assert blockers - waiting <= ends


def test_a_long_queue_is_drawn_to_its_end():
    """Each waits for all before it, as in the queue of one lock."""
    queue = [session(1), *(session(n, *range(1, n)) for n in range(2, 400))]
    [finding] = found(*queue)
    assert finding.evidence["blocked_sessions"].value == 398
