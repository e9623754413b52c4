"""The exceptions of PEP 249."""

from __future__ import annotations


class Warning(Exception):  # noqa: A001
    """Something that is worth a look. sidql raises none."""


class Error(Exception):
    """What went wrong, where in the statement, and how to mend it."""

    #: Stable and kebab-cased, for programs: `unknown-name`.
    code: str
    #: How to mend it.
    help: str | None
    #: Where in the statement: the first character, and the one behind the last.
    span: tuple[int, int] | None

    def __init__(
        self,
        message: str,
        code: str = "",
        help: str | None = None,  # noqa: A002
        span: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.help, self.span = code, help, span


class InterfaceError(Error):
    """The module is used wrongly, not the database."""


class DatabaseError(Error):
    """Anything about the database; by itself: the file is damaged, or no sidql file."""


class DataError(DatabaseError):
    """A value does not fit."""


class OperationalError(DatabaseError):
    """Something else is in the way: a lock, the disk, an interruption. Try again."""


class IntegrityError(DatabaseError):
    """An id is there already, or what is referred to is not."""


class InternalError(DatabaseError):
    """A bug of sidql. Please report it."""


class ProgrammingError(DatabaseError):
    """The statement, its options or its parameters are wrong."""


class NotSupportedError(DatabaseError):
    """This build cannot do it."""
