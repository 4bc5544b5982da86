"""SQLAlchemy's ORM over our leases: real use, and what comes back to the pool."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import JSON, ForeignKey, func, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload

from filban.pool import create_pool
from filban.pool.sqlalchemy import create_async_engine
from routed import PATIENT, caught_up, routed, run


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    about: Mapped[dict] = mapped_column(JSONB, default=dict)
    plain: Mapped[dict | None] = mapped_column(JSON)
    articles: Mapped[list[Article]] = relationship(back_populates="author")


class Article(Base):
    __tablename__ = "article"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship(back_populates="articles")


@pytest.fixture
async def pool(db):
    async with create_pool(db.dsn, min_size=0, max_size=3) as opened:
        yield opened


@pytest.fixture
async def sessions(pool):
    engine = create_async_engine(pool)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield async_sessionmaker(engine, expire_on_commit=False)
    await engine.dispose()


async def test_objects_are_written_and_read_back(sessions, pool):
    async with sessions.begin() as session:
        author = Author(name="Sa'di", about={"born": 1210}, plain={"a": ["b"]})
        author.articles = [Article(title="Gulistan"), Article(title="Bustan")]
        session.add(author)
    async with sessions() as session:
        found = (await session.scalars(select(Author).options(selectinload(Author.articles)))).one()
        assert found.about == {"born": 1210}
        assert found.plain == {"a": ["b"]}
        assert sorted(a.title for a in found.articles) == ["Bustan", "Gulistan"]
    assert pool.get_idle_size() == pool.get_size()


async def test_an_error_rolls_back_and_gives_the_connection_back(sessions, pool):
    async with sessions.begin() as session:
        session.add(Author(name="one"))
    with pytest.raises(IntegrityError):
        async with sessions.begin() as session:
            session.add(Author(name="one"))
    async with sessions() as session:
        assert await session.scalar(select(func.count()).select_from(Author)) == 1
    assert pool.get_idle_size() == pool.get_size()


async def test_many_sessions_share_few_connections(sessions, pool):
    async def add(number: int) -> None:
        async with sessions.begin() as session:
            session.add(Author(name=f"author {number}"))

    await asyncio.gather(*(add(number) for number in range(40)))
    async with sessions() as session:
        assert await session.scalar(select(func.count()).select_from(Author)) == 40
    assert pool.get_size() <= 3
    assert pool.stats().waiting == 0


async def test_a_statement_is_prepared_once_for_each_real_connection(db):
    """Not once a checkout: SQLAlchemy's own cache ends with the lease, asyncpg's does not."""
    async with create_pool(db.dsn, min_size=0, max_size=1) as pool:
        engine = create_async_engine(pool)
        for _ in range(5):
            async with AsyncSession(engine) as session:
                await session.execute(text("SELECT 42 AS marked"))
        async with pool.acquire() as leased:
            prepared = await leased.fetchval(
                "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%AS marked'"
            )
        assert prepared == 1
        await engine.dispose()


async def test_what_a_session_sets_does_not_reach_the_next(sessions, pool):
    async with sessions() as session:
        await session.execute(text("SET search_path = pg_temp"))
        await session.commit()
    for _ in range(3):
        async with pool.acquire() as leased:
            assert await leased.fetchval("SHOW search_path") == '"$user", public'


async def test_a_server_side_cursor(sessions):
    async with sessions() as session:
        rows = await session.stream(text("SELECT * FROM generate_series(1, 1000)"))
        assert len([row async for row in rows]) == 1000


async def test_a_cancelled_session_costs_nobody_a_connection(sessions, pool):
    async def slow() -> None:
        async with sessions() as session:
            await session.execute(text("SELECT pg_sleep(60)"))

    task = asyncio.create_task(slow())
    while not pool.get_size() - pool.get_idle_size():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30):
        await asyncio.gather(*(one(sessions) for _ in range(6)))


async def one(sessions) -> None:
    async with sessions() as session:
        assert await session.scalar(text("SELECT 1")) == 1


async def test_a_routers_engines_write_to_the_primary_and_read_ones_writes(primary_standby):
    primary, standby = primary_standby.primary, primary_standby.standby
    await run(primary, "DROP TABLE IF EXISTS author, article")
    async with routed(primary, standby, policy=PATIENT) as router:
        writing, reading = create_async_engine(router), create_async_engine(router, reads=True)
        async with writing.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        await caught_up(primary, standby)
        for number in range(20):
            with router.session():
                async with AsyncSession(writing) as session, session.begin():
                    session.add(Author(name=str(number)))
                assert (await router.token()) is not None
                async with AsyncSession(reading) as session:
                    count = await session.scalar(select(func.count()).select_from(Author))
                    assert count == number + 1
        async with AsyncSession(reading) as session:
            assert await session.scalar(text("SELECT pg_is_in_recovery()"))
        await writing.dispose()
        await reading.dispose()
