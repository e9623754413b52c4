"""Which exception, and what it says."""

import pytest

import sidql


def test_the_tree_is_that_of_pep_249() -> None:
    assert issubclass(sidql.Warning, Exception) and issubclass(sidql.InterfaceError, sidql.Error)
    for kind in [
        sidql.DataError,
        sidql.IntegrityError,
        sidql.InternalError,
        sidql.NotSupportedError,
        sidql.OperationalError,
        sidql.ProgrammingError,
    ]:
        assert issubclass(kind, sidql.DatabaseError) and issubclass(kind, sidql.Error)


def test_an_error_shows_the_place_and_the_remedy(shop: sidql.Connection) -> None:
    sql = "SELECT id FROM items WHERE title = 'Käse ⚽' AND prise < 3"
    with pytest.raises(sidql.ProgrammingError) as caught:
        shop.execute(sql)
    error = caught.value
    assert error.code == "unknown-name"
    assert error.help is not None and "price" in error.help
    assert error.span is not None and sql[slice(*error.span)] == "prise"
    assert "^^^^^" in str(error) and "help: " in str(error)


def test_syntax(con: sidql.Connection) -> None:
    with pytest.raises(sidql.ProgrammingError) as caught:
        con.execute("SELECT id FRM items")
    assert caught.value.code == "syntax"


def test_each_error_has_its_exception(shop: sidql.Connection) -> None:
    def code(kind: type[sidql.Error], sql: str, parameters: object = None) -> str:
        with pytest.raises(sidql.Error) as caught:
            shop.execute(sql, parameters)  # type: ignore[arg-type]
        assert type(caught.value) is kind, repr(caught.value)
        return caught.value.code

    assert code(sidql.IntegrityError, "INSERT INTO items {id: 's0n0'}") == "duplicate-id"
    assert code(sidql.IntegrityError, "INSERT INTO interactions {user: 'u', item: 'x'}") == "unknown-item"
    assert code(sidql.DataError, "UPDATE items SET price = 'cheap'") == "type-mismatch"
    assert code(sidql.ProgrammingError, "SELECT id FROM items WHERE id = ?") == "missing-parameter"
    assert code(sidql.ProgrammingError, "SELECT id FROM items WHERE id = ?", "s0n0") == "bad-parameters"
    assert code(sidql.DataError, "SELECT id FROM items WHERE id = ?", [object()]) == "bad-value"
    assert code(sidql.DataError, "SELECT id FROM items WHERE stock = ?", [2**70]) == "bad-value"
    assert code(sidql.ProgrammingError, "COMMIT") == "no-transaction"
