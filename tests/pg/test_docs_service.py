"""What docs/how-to/pool-in-a-service.md shows is run as it stands."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import httpx

from conftest import fresh_database

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "pool-in-a-service.md"


async def run(source: str, line: int, names: dict[str, object]) -> None:
    """A block with `await` at its top level, its lines numbered as on the page."""
    code = compile("\n" * line + source, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, names)  # our own page
    if inspect.isawaitable(result):
        await result


async def test_every_block_of_the_page(primary_standby):
    async with fresh_database(primary_standby.primary) as db:
        standby = f"127.0.0.1:{primary_standby.standby.port}"
        both = re.sub(r"@([^/]+)/", rf"@\1,{standby}/", db.dsn)
        await run_page({"DSN": db.dsn, "HOSTS": both})


async def run_page(names: dict[str, object]) -> None:
    text = PAGE.read_text()
    blocks = list(re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert len(blocks) >= 8
    for number, block in enumerate(blocks):
        if number == len(blocks) - 1:
            await serve(names["app"])
        await run(block[1], text[: block.start(1)].count("\n"), names)


async def serve(app) -> None:
    """The application that the page defines: what a user writes is there for the next request."""
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://news") as client,
    ):
        made = await client.post("/articles", params={"title": "by a request"})
        assert made.status_code == 200
        assert "filban_token" in made.cookies
        found = await client.get(f"/articles/{made.json()['id']}")
        assert found.json()["title"] == "by a request"
