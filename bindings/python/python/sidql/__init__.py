"""sidql: an embedded database for Semantic IDs.

    con = sidql.connect("shop.sidql")
    con.insert("items", [{"id": "b1", "title": "Soccer ball", "price": 12.5}])
    con.execute("SELECT id, price FROM items WHERE price < ?", [30]).df()
"""

from sidql._sidql import Connection, Cursor, Job, JobProgress, Recommender, connect
from sidql.errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,
)

#: The version of the DB-API (PEP 249).
apilevel = "2.0"
#: Threads may share the module and connections.
threadsafety = 2
#: Parameters are written `?`; `$name` works too.
paramstyle = "qmark"

__all__ = [
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "Job",
    "JobProgress",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Recommender",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]
