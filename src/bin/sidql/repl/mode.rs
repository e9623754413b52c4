//! The forms in which a result can be written.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use sidql::Rows;

use super::{machine, table};

/// The form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// A boxed table that fits the terminal
    Box,
    /// One array of objects for each statement
    Json,
    /// One object a line
    Jsonl,
    /// Comma-separated, as RFC 4180 says
    Csv,
    /// Tab-separated; tab, newline and backslash as \t, \n, \\
    Tsv,
    /// A table in Markdown
    Markdown,
    /// One line for each value
    Line,
}

/// What else shapes a result.
pub(super) struct Look<'a> {
    /// Whether the names of the columns come first.
    pub(super) headers: bool,
    /// What stands for null.
    pub(super) null: &'a str,
    /// The columns of the screen.
    pub(super) width: usize,
}

/// The width of a box where there is no terminal to ask.
const WIDTH: usize = 100;

/// No terminal is narrower.
const NARROWEST: usize = 10;

impl<'a> Look<'a> {
    /// The look of a mode; `null` overrides its word for null.
    pub(super) fn new(mode: Mode, headers: bool, null: Option<&'a str>) -> Self {
        let default = if mode.for_people() { "NULL" } else { "" };
        Look { headers, null: null.unwrap_or(default), width: screen() }
    }
}

/// The columns of the terminal, or what stands for them where there is none.
pub(super) fn screen() -> usize {
    let asked = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || {
        let width = comfy_table::Table::new().width();
        // A terminal that does not know its width says 0.
        let width = width.map(usize::from).filter(|width| *width >= NARROWEST);
        width.filter(|_| io::stdout().is_terminal())
    };
    terminal().or_else(asked).unwrap_or(WIDTH)
}

impl Mode {
    /// The name typed after `.mode`.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether messages may stand between the results.
    pub(super) fn for_people(self) -> bool {
        matches!(self, Mode::Box | Mode::Line)
    }

    /// Writes a result.
    pub(super) fn write(
        self,
        out: &mut impl Write,
        rows: &Rows,
        look: &Look<'_>,
    ) -> io::Result<()> {
        match self {
            Mode::Box => table::boxed(out, rows, look),
            Mode::Line => table::lines(out, rows, look),
            Mode::Markdown => table::markdown(out, rows, look),
            Mode::Json => machine::json(out, rows),
            Mode::Jsonl => machine::jsonl(out, rows),
            Mode::Csv => machine::csv(out, rows, look),
            Mode::Tsv => machine::tsv(out, rows, look),
        }
    }
}
