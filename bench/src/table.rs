//! Tables for people on the screen, and the same cells for programs in `raw.tsv`.

#![allow(clippy::print_stdout, reason = "a measurement prints its table")]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::{Result, option};

/// Where a measurement says what it found.
pub struct Report {
    raw: Option<File>,
}

impl Report {
    /// A report on the screen, and in `raw.tsv` of the folder that `--out` names.
    pub fn from_args() -> Result<Self> {
        let raw = option("--out").map(|folder| -> Result<File> {
            fs::create_dir_all(&folder)?;
            Ok(File::create(Path::new(&folder).join("raw.tsv"))?)
        });
        Ok(Report { raw: raw.transpose()? })
    }

    /// A line for people.
    pub fn say(&self, line: impl std::fmt::Display) {
        println!("{line}");
    }

    /// A table. The first column is set to the left, the others to the right.
    pub fn table(&mut self, title: &str, columns: &[&str], rows: &[Vec<String>]) -> Result {
        println!("\n{title}\n");
        let head: Vec<String> = columns.iter().map(ToString::to_string).collect();
        let all: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
        let width = |at: usize| {
            all.iter().map(|row| row.get(at).map_or(0, |c| c.chars().count())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns.len()).map(width).collect();
        for row in &all {
            let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
                if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        let Some(raw) = &mut self.raw else { return Ok(()) };
        writeln!(raw, "# {title}")?;
        for row in all {
            writeln!(raw, "{}", row.join("\t"))?;
        }
        Ok(writeln!(raw)?)
    }
}
