"""A small shop that most tests look at."""

import signal
from collections.abc import Iterator

import pytest

import sidql

# A shell starts what runs in its background with SIGINT ignored, and Python leaves that as it is.
signal.signal(signal.SIGINT, signal.default_int_handler)

ITEMS = [
    {
        "id": f"s{sport}n{number}",
        "title": f"{name} equipment, model {number}",
        "price": 10.0 * number + 0.5,
        "stock": number,
        "categories": ["Sports", name],
    }
    for sport, name in enumerate(["soccer", "tennis", "swimming", "running"])
    for number in range(10)
]
HISTORIES = [
    {"user": f"u{user}", "item": f"s{user % 4}n{(user + step) % 10}"}
    for user in range(20)
    for step in range(5)
]


@pytest.fixture
def con() -> Iterator[sidql.Connection]:
    """An empty database in memory."""
    connection = sidql.connect()
    yield connection
    connection.close()


@pytest.fixture
def shop(con: sidql.Connection) -> sidql.Connection:
    """40 items, 20 users, embeddings, SIDs and a policy."""
    con.insert("items", ITEMS)
    con.insert("interactions", HISTORIES)
    con.execute("ENRICH items BY text WITH (projection = 'none')")
    con.execute("CREATE CODEBOOK full USING rq_kmeans ON text WITH (levels = 2, codes = 8)")
    con.execute("REBUILD CODEBOOK full WITH (publish = true)")
    con.execute("CREATE POLICY graph USING item_graph")
    con.execute("TRAIN POLICY graph WITH (until = 'all')")
    return con
