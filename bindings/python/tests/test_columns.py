"""Arrow, pandas, polars and NumPy, out and in."""

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import sidql

ROWS: list[dict[str, Any]] = [
    {"id": "b1", "title": "Soccer ball", "price": 12.5, "stock": 3, "sale": True, "tags": ["a", "b"]},
    {"id": "b2", "title": "Käse", "price": None, "stock": 0, "sale": False, "tags": []},
    {"id": "b3", "title": None, "price": 1.0, "stock": 9, "sale": True, "tags": ["c"]},
]
FIELDS = "id, title, price, stock, sale, tags"


def in_batches(rows: list[dict[str, Any]]) -> pa.RecordBatchReader:
    table = pa.Table.from_pylist(rows)
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=2))


@pytest.mark.parametrize(
    "data_of",
    [
        list,
        pd.DataFrame,
        pl.DataFrame,
        pa.Table.from_pylist,
        pa.RecordBatch.from_pylist,
        in_batches,
    ],
)
def test_rows_come_in_from_anywhere(con: sidql.Connection, data_of: Callable[[Any], Any]) -> None:
    assert con.insert("items", data_of(ROWS)) == 3
    found = con.execute(f"SELECT {FIELDS} FROM items ORDER BY id").fetchall()
    assert found == [tuple(row.values()) for row in ROWS]


def test_an_index_of_pandas_is_no_field(con: sidql.Connection) -> None:
    frame = pd.DataFrame(ROWS)
    con.insert("items", frame[frame.stock != 0])
    assert con.execute("SELECT * FROM items").rowcount == 2
    names = [column[0] for column in con.execute("SELECT * FROM items").description or []]
    assert not [name for name in names if "index" in name]


def test_bad_rows_are_refused_whole(con: sidql.Connection) -> None:
    con.insert("items", ROWS)
    with pytest.raises(sidql.DataError, match="field `price`") as refused:
        con.insert("items", [{"id": "c1", "price": 2}, {"id": "c2", "price": "cheap"}])
    assert "INSERT INTO items {id, price}" in str(refused.value)
    with pytest.raises(sidql.IntegrityError):
        con.insert("items", in_batches([{"id": "c1"}, {"id": "c2"}, {"id": "b1"}]))
    with pytest.raises(sidql.DataError, match="no rows are made of int"):
        con.insert("items", 3)  # type: ignore[arg-type]
    with pytest.raises(sidql.DataError, match="cast it"):
        con.insert("items", pl.DataFrame({"id": ["c1"], "day": [datetime.date(2026, 1, 1)]}))
    with pytest.raises(sidql.ProgrammingError):
        con.insert("itmes", ROWS)
    assert con.execute("SELECT id FROM items").rowcount == 3


def test_results_are_arrow(con: sidql.Connection) -> None:
    con.insert("items", ROWS)
    table = con.execute(f"SELECT {FIELDS} FROM items ORDER BY id").arrow()
    types = [pa.string(), pa.string(), pa.float64(), pa.int64(), pa.bool_(), pa.list_(pa.string())]
    assert [field.type.equals(type) for field, type in zip(table.schema, types)] == [True] * 6
    assert table.to_pylist() == ROWS
    nothing = con.execute("SELECT id, price FROM items WHERE id = 'none'").arrow()
    assert (nothing.num_rows, nothing.column_names) == (0, ["id", "price"])


def test_results_are_data_frames(con: sidql.Connection) -> None:
    con.insert("items", ROWS)
    cursor = con.execute(f"SELECT {FIELDS} FROM items ORDER BY id")
    assert cursor.pl().to_dicts() == ROWS
    frame = cursor.df()
    assert list(frame.id) == ["b1", "b2", "b3"] and np.isnan(frame.price[1])
    assert pl.DataFrame(cursor).shape == pa.table(cursor).shape == (3, 6)
    # The whole result, however often and whatever was fetched.
    assert len(cursor.fetchall()) == 3 and len(cursor.df()) == 3


def test_results_are_arrays(shop: sidql.Connection) -> None:
    shop.execute("UPDATE items SET price = NULL WHERE id = 's0n1'")
    found = shop.execute(
        "SELECT id, price, stock, stock > 1 AS many, categories, embedding('text') AS vector "
        "FROM items ORDER BY id LIMIT 3"
    ).fetchnumpy()
    assert list(found["id"]) == ["s0n0", "s0n1", "s0n2"]
    assert found["price"].dtype == np.float64 and np.isnan(found["price"][1])
    assert found["stock"].dtype == np.int64 and list(found["stock"]) == [0, 1, 2]
    assert found["many"].dtype == np.bool_ and list(found["many"]) == [False, False, True]
    assert found["categories"][0] == ["Sports", "soccer"]
    assert found["vector"].dtype == np.float32 and found["vector"].shape[0] == 3
    found["vector"][0] = 0  # Python may write to it.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vectors_go_in_and_out(shop: sidql.Connection, dtype: str) -> None:
    (vector,) = shop.execute("SELECT embedding('text') FROM items WHERE id = 's2n4'").fetchone() or ()
    assert vector.dtype == np.float32 and vector.ndim == 1
    near = "SELECT id FROM items NEAR ? IN text LIMIT 1"
    assert shop.execute(near, [vector.astype(dtype)]).fetchall() == [("s2n4",)]
    assert shop.execute(near, [list(map(float, vector))]).fetchall() == [("s2n4",)]
    column = shop.execute("SELECT embedding('text') AS v FROM items").arrow().column("v")
    assert column.type.equals(pa.list_(pa.float32(), len(vector)))
    assert column.null_count == 0 and len(column) == 40


MATRIX = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], dtype=np.float32)
ARROW = pa.FixedSizeListArray.from_arrays(pa.array(MATRIX.reshape(-1)), 2)


@pytest.mark.parametrize(
    "vectors",
    [
        MATRIX,
        np.asfortranarray(MATRIX),
        MATRIX.astype(np.float64),
        MATRIX.tolist(),
        ARROW,
        pa.concat_arrays([ARROW, ARROW])[3:],
    ],
)
def test_vectors_come_in_from_memory(con: sidql.Connection, vectors: Any) -> None:
    con.insert("items", ROWS)
    assert con.insert_embeddings("theirs", ["b1", "b2", "b3"], vectors) == 3
    found = con.execute("SELECT embedding('theirs') AS v FROM items ORDER BY id").fetchnumpy()["v"]
    assert found.dtype == np.float32 and np.array_equal(found, MATRIX)
    near = con.execute("SELECT id FROM items NEAR 'b2' IN theirs LIMIT 1").fetchall()
    assert near == [("b3",)]
    con.insert_embeddings("theirs", np.array(["b1"]), MATRIX[1:2])
    again = con.execute("SELECT embedding('theirs') FROM items WHERE id = 'b1'").fetchone() or ()
    assert again[0].tolist() == [0.0, 1.0]


def test_bad_vectors_are_refused_whole(con: sidql.Connection) -> None:
    con.insert("items", ROWS)
    cases: list[tuple[list[Any], Any, str]] = [
        (["b1"], MATRIX, "1 ids and 3 vectors"),
        (["b1", "b2", "none"], MATRIX, "there is no item `none`"),
        (["b1", "b2", "b1"], MATRIX, "given twice"),
        (["b1", "b2", "b3"], MATRIX[0], "two dimensions"),
        (["b1", "b2", "b3"], MATRIX * np.nan, "not finite|is NaN"),
        ([1.5], MATRIX[:1], "an id is a text or an int"),
        (["b1", "b2", "b3"], pa.array([1.0, 2.0, 3.0]), "FixedSizeList of float32"),
    ]
    for ids, vectors, match in cases:
        with pytest.raises(sidql.Error, match=match):
            con.insert_embeddings("theirs", ids, vectors)
    assert con.execute("SELECT name FROM spaces").fetchall() == []


def test_a_budget_of_memory(tmp_path: Any) -> None:
    with sidql.connect(tmp_path / "a.sidql", memory_bytes=32 << 20) as con:
        assert con.insert("items", ROWS) == 3
