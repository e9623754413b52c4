"""PEP 249: connections, cursors, transactions."""

from pathlib import Path

import numpy as np
import pytest

import sidql


def test_module_says_what_it_is() -> None:
    assert (sidql.apilevel, sidql.threadsafety, sidql.paramstyle) == ("2.0", 2, "qmark")


def test_rows_are_fetched_once(shop: sidql.Connection) -> None:
    cursor = shop.cursor()
    assert cursor.description is None
    assert cursor.execute("SELECT id, price FROM items ORDER BY id LIMIT 5") is cursor
    assert cursor.rowcount == 5
    assert cursor.fetchone() == ("s0n0", 0.5)
    assert cursor.fetchmany() == [("s0n1", 10.5)]
    cursor.arraysize = 2
    assert [row[0] for row in cursor.fetchmany()] == ["s0n2", "s0n3"]
    assert [row[0] for row in cursor.fetchall()] == ["s0n4"]
    assert cursor.fetchone() is None
    assert cursor.fetchall() == []
    none = (None,) * 5
    assert cursor.description == [("id", "text", *none), ("price", "float", *none)]


def test_a_cursor_iterates(shop: sidql.Connection) -> None:
    rows = shop.execute("SELECT id FROM items WHERE price < $most ORDER BY id", {"most": 11})
    assert [id for (id,) in rows] == ["s0n0", "s0n1", "s1n0", "s1n1", "s2n0", "s2n1", "s3n0", "s3n1"]


def test_values_come_back_as_they_went(con: sidql.Connection) -> None:
    given = ["b1", "Käse ⚽", 2**62, -1.5, True, b"\x00\xff", ["a", "b"]]
    con.execute("INSERT INTO items {id: ?, title: ?, n: ?, x: ?, b: ?, photo: ?, tags: ?}", given)
    row = con.execute("SELECT id, title, n, x, b, photo, tags FROM items").fetchone()
    assert row == tuple(given)
    con.execute("INSERT INTO items {id: 'b2', title: ?, n: ?}", [None, np.int32(7)])
    assert con.execute("SELECT title, n FROM items WHERE id = 'b2'").fetchone() == (None, 7)


def test_sids_are_texts(shop: sidql.Connection) -> None:
    (sid,) = shop.execute("SELECT sid FROM items WHERE id = 's1n2'").fetchone() or ("",)
    assert sid.startswith("a") and ".b" in sid
    assert shop.execute("SELECT id FROM items WHERE sid = ?", [sid]).fetchall() == [("s1n2",)]
    prefix = sid.split(".")[0]
    under = shop.execute("SELECT id FROM items WHERE prefix IN (?)", [prefix]).fetchall()
    assert ("s1n2",) in under and len(under) < 40


def test_a_statement_without_rows_says_what_it_did(con: sidql.Connection) -> None:
    cursor = con.execute("INSERT INTO items {id: 'b1', title: 'Ball'}")
    assert (cursor.message, cursor.rowcount, cursor.description) == ("1 item", 1, None)
    with pytest.raises(sidql.ProgrammingError, match="gives no rows"):
        cursor.fetchall()


def count(con: sidql.Connection) -> int:
    (number,) = con.execute("SELECT count(*) FROM items").fetchone() or (0,)
    return int(number)


def test_transactions(con: sidql.Connection) -> None:
    con.commit()
    con.rollback()
    con.begin()
    assert con.in_transaction
    con.execute("INSERT INTO items {id: 'b1'}")
    con.rollback()
    assert not con.in_transaction and count(con) == 0
    con.begin()
    con.execute("INSERT INTO items {id: 'b1'}")
    con.commit()
    assert count(con) == 1


def test_executemany_does_all_or_nothing(con: sidql.Connection) -> None:
    insert = "INSERT INTO items {id: ?, title: ?}"
    con.executemany(insert, [("b1", "one"), ("b2", "two")])
    assert count(con) == 2
    with pytest.raises(sidql.IntegrityError):
        con.executemany(insert, [("b3", "three"), ("b1", "again")])
    assert count(con) == 2 and not con.in_transaction
    con.begin()
    con.cursor().executemany(insert, ([f"c{at}", None] for at in range(3)))
    assert con.in_transaction
    con.rollback()
    assert count(con) == 2


def test_the_context_manager_commits_or_rolls_back(tmp_path: Path) -> None:
    file = tmp_path / "shop.sidql"
    with sidql.connect(file) as con:
        con.begin()
        con.execute("INSERT INTO items {id: 'b1'}")
    with pytest.raises(RuntimeError), sidql.connect(str(file)) as con:
        con.begin()
        con.execute("INSERT INTO items {id: 'b2'}")
        raise RuntimeError
    with sidql.connect(file, read_only=True) as con:
        assert con.execute("SELECT id FROM items").fetchall() == [("b1",)]
        with pytest.raises(sidql.OperationalError) as refused:
            con.execute("DELETE FROM items")
        assert refused.value.code == "read-only"
    with pytest.raises(sidql.Error):
        sidql.connect(tmp_path / "missing.sidql", read_only=True)


def test_what_is_closed_says_so(con: sidql.Connection) -> None:
    cursor = con.execute("SELECT id FROM items")
    cursor.close()
    with pytest.raises(sidql.ProgrammingError, match="the cursor is closed"):
        cursor.execute("SELECT id FROM items")
    other = sidql.connect()
    other.close()
    other.close()
    with pytest.raises(sidql.ProgrammingError, match="the connection is closed"):
        other.execute("SELECT id FROM items")


def test_a_notebook_shows_results(con: sidql.Connection) -> None:
    con.insert("items", [{"id": f"b{at}", "title": "<b>&"} for at in range(30)])
    html = con.execute("SELECT id, title FROM items")._repr_html_()
    assert "&lt;b&gt;&amp;" in html and "<b>" not in html
    assert "30 rows, the first 20 shown" in html and html.count("<tr>") == 21
    assert "1 item" in con.execute("DELETE FROM items WHERE id = 'b1'")._repr_html_()


def test_rowcount_is_the_number_of_changed_rows(con: sidql.Connection, tmp_path: Path) -> None:
    def changed(sql: str) -> int:
        return con.execute(sql).rowcount

    assert changed("INSERT INTO items {id: 'b1', n: 1}, {id: 'b2', n: 2}, {id: 'b3', n: 3}") == 3
    assert changed("UPDATE items SET n = 5 WHERE n < 3") == 2
    assert changed("UPDATE items SET n = 5 WHERE n > 100") == 0
    assert changed("INSERT INTO interactions {user: 'u', item: 'b1'}, {user: 'u', item: 'b2'}") == 2
    assert changed("DELETE FROM interactions WHERE item = 'b2'") == 1
    assert changed("DELETE FROM items WHERE n = 5") == 2
    lines = tmp_path / "more.jsonl"
    lines.write_text('{"id": "c1"}\n{"id": "c2"}\n')
    assert changed(f"COPY items FROM '{lines}'") == 2
    assert changed("SHOW JOBS") == 1
    assert changed("SET device = 'cpu'") == -1
    many = con.executemany("INSERT INTO items {id: ?}", [["d1"], ["d2"]])
    assert many.rowcount == 2
