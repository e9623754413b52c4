//! Results for people: boxed tables, Markdown, one line for each value.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use sidql::{Rows, Value};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::mode::Look;
use super::number;

/// Below this many columns of screen for each column of the result a table is no longer readable.
const NARROWEST: usize = 6;

/// How many significant digits of a float are shown.
const DIGITS: i32 = 6;

/// A boxed table that fits the screen; names of columns are broken behind a `_` where that helps, and what still does not
/// fit is cut with `…`.
///
/// A result with too many columns for any table is written as [`lines`].
pub(super) fn boxed(out: &mut impl Write, rows: &Rows, look: &Look<'_>) -> io::Result<()> {
    let columns = rows.columns.len();
    let room = look.width.saturating_sub(3 * columns + 1);
    if columns == 0 {
        return Ok(());
    }
    if columns > 1 && room < NARROWEST * columns {
        return lines(out, rows, look);
    }
    // A lone column, such as a plan, keeps its own lines.
    let clean = if columns == 1 { visible_lines } else { visible };
    let header: Vec<String> = rows.columns.iter().map(|name| visible(name)).collect();
    let cells: Vec<Vec<String>> = rows
        .rows
        .iter()
        .map(|row| row.iter().map(|value| clean(&text_of(value, look.null))).collect())
        .collect();
    let mut natural = natural_widths(&header, &cells);
    if natural.iter().sum::<usize>() > room {
        let longest =
            |name: &String| pieces(name).map(str::to_owned).collect::<Vec<_>>().join("\n");
        natural = natural_widths(&header.iter().map(longest).collect::<Vec<_>>(), &cells);
    }
    let widths = fit(&natural, room);
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Disabled);
    if look.headers {
        table.set_header(header.iter().zip(&widths).map(|(name, width)| broken(name, *width)));
    }
    let right: Vec<bool> = (0..columns).map(|column| is_numeric(rows, column)).collect();
    for row in &cells {
        table.add_row(row.iter().zip(&widths).zip(&right).map(|((text, width), right)| {
            let text: Vec<_> = text.lines().map(|line| cut(line, *width)).collect();
            let align = if *right { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(text.join("\n")).set_alignment(align)
        }));
    }
    writeln!(out, "{table}")
}

/// One line for each value, names aligned, a blank line between rows.
pub(super) fn lines(out: &mut impl Write, rows: &Rows, look: &Look<'_>) -> io::Result<()> {
    let widest = rows.columns.iter().map(|name| name.width()).max().unwrap_or(0);
    for (at, row) in rows.rows.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        for (name, value) in rows.columns.iter().zip(row) {
            let gap = " ".repeat(widest - name.width());
            writeln!(out, "{gap}{name} = {}", visible(&text_of(value, look.null)))?;
        }
    }
    Ok(())
}

/// A Markdown table.
pub(super) fn markdown(out: &mut impl Write, rows: &Rows, look: &Look<'_>) -> io::Result<()> {
    let escaped = |text: &str| visible(text).replace('|', "\\|");
    let names: Vec<_> = rows.columns.iter().map(|name| escaped(name)).collect();
    writeln!(out, "| {} |", names.join(" | "))?;
    let rules: Vec<_> = (0..rows.columns.len())
        .map(|column| if is_numeric(rows, column) { "---:" } else { "---" })
        .collect();
    writeln!(out, "| {} |", rules.join(" | "))?;
    for row in &rows.rows {
        let cells: Vec<_> = row.iter().map(|value| escaped(&text_of(value, look.null))).collect();
        writeln!(out, "| {} |", cells.join(" | "))?;
    }
    Ok(())
}

fn text_of(value: &Value, null: &str) -> String {
    match value {
        Value::Null => null.to_owned(),
        Value::Float(float) => number::short(*float, DIGITS),
        other => other.to_string(),
    }
}

fn is_numeric(rows: &Rows, column: usize) -> bool {
    let mut values = rows.rows.iter().filter_map(|row| row.get(column)).filter(|v| !v.is_null());
    let first = values.next();
    first.is_some_and(|value| value.as_f64().is_some()) && values.all(|v| v.as_f64().is_some())
}

/// Text on one line, without characters that would steer the terminal.
fn visible(text: &str) -> String {
    text.trim_end_matches('\n').replace("\r\n", "\n").chars().map(visible_char).collect()
}

fn visible_lines(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n")
}

fn visible_char(letter: char) -> char {
    match letter {
        '\n' => '↵',
        '\t' => ' ',
        // These change the order of what is printed around them.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        control if control.is_control() => '\u{fffd}',
        letter => letter,
    }
}

fn natural_widths(header: &[String], cells: &[Vec<String>]) -> Vec<usize> {
    let widest_line = |text: &String| text.lines().map(UnicodeWidthStr::width).max().unwrap_or(0);
    let mut widths: Vec<usize> = header.iter().map(widest_line).collect();
    for row in cells {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = (*width).max(widest_line(text));
        }
    }
    widths
}

/// Widths that together fit the room: the widest columns give way first.
fn fit(natural: &[usize], room: usize) -> Vec<usize> {
    let total = |limit: usize| natural.iter().map(|width| (*width).min(limit)).sum::<usize>();
    let widest = natural.iter().copied().max().unwrap_or(0);
    if total(widest) <= room {
        return natural.to_vec();
    }
    let limit = (1..=widest).rev().find(|limit| total(*limit) <= room).unwrap_or(1);
    let mut spare = room.saturating_sub(total(limit));
    natural
        .iter()
        .map(|width| {
            let extra = usize::from(*width > limit && spare > 0);
            spare -= extra;
            (*width).min(limit + extra)
        })
        .collect()
}

/// The parts of a name that may stand on lines of their own.
fn pieces(name: &str) -> impl Iterator<Item = &str> {
    name.split_inclusive('_')
}

/// A name in lines of a width, broken behind `_`.
fn broken(name: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for piece in pieces(name) {
        match lines.last_mut() {
            Some(line) if line.width() + piece.width() <= width => line.push_str(piece),
            _ => lines.push(piece.to_owned()),
        }
    }
    let lines: Vec<String> = lines.iter().map(|line| cut(line, width)).collect();
    lines.join("\n")
}

fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = 1;
    for letter in text.chars() {
        used += letter.width().unwrap_or(0);
        if used > width {
            break;
        }
        short.push(letter);
    }
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn written(
        rows: &Rows,
        width: usize,
        write: fn(&mut Vec<u8>, &Rows, &Look<'_>) -> io::Result<()>,
    ) -> String {
        let mut out = Vec::new();
        write(&mut out, rows, &Look { headers: true, null: "NULL", width }).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn sample() -> Rows {
        let mut rows = Rows::new(["id", "title", "price"]);
        rows.push(vec!["B1".into(), "Classic Soccer Ball, Size 4".into(), 9.5.into()]);
        rows.push(vec!["B2".into(), Value::Null, 19.99.into()]);
        rows
    }

    #[test]
    fn a_box_aligns_numbers_and_shows_nulls() {
        assert_eq!(
            written(&sample(), 80, boxed),
            "\
┌────┬─────────────────────────────┬───────┐
│ id ┆ title                       ┆ price │
╞════╪═════════════════════════════╪═══════╡
│ B1 ┆ Classic Soccer Ball, Size 4 ┆   9.5 │
│ B2 ┆ NULL                        ┆ 19.99 │
└────┴─────────────────────────────┴───────┘
"
        );
    }

    #[test]
    fn a_box_fits_the_screen_to_the_column() {
        for width in 30..50 {
            let text = written(&sample(), width, boxed);
            let widest = text.lines().map(UnicodeWidthStr::width).max().unwrap();
            assert_eq!(widest, width.min(44), "{text}");
        }
        assert!(written(&sample(), 30, boxed).contains("Classic Socc…"));
        let narrow = written(&sample(), 20, boxed);
        assert!(narrow.starts_with("   id = B1\ntitle = Classic"), "{narrow}");
    }

    #[test]
    fn names_of_columns_break_before_they_are_cut() {
        let mut rows = Rows::new(["policy", "hr@10_string_level", "seen_filtered"]);
        rows.push(vec!["graph".into(), 0.5.into(), true.into()]);
        assert_eq!(
            written(&rows, 34, boxed),
            "\
┌────────┬─────────┬──────────┐
│ policy ┆ hr@10_  ┆ seen_    │
│        ┆ string_ ┆ filtered │
│        ┆ level   ┆          │
╞════════╪═════════╪══════════╡
│ graph  ┆     0.5 ┆ true     │
└────────┴─────────┴──────────┘
"
        );
        assert_eq!(broken("a_b_longer", 4), "a_b_\nlon…");
    }

    #[test]
    fn wide_letters_count_as_they_are_drawn() {
        assert_eq!(cut("足球足球", 5), "足球…");
        assert_eq!(cut("足球足球", 4), "足…");
        assert_eq!(fit(&[10, 3, 10], 14), [6, 3, 5]);
    }

    #[test]
    fn a_value_cannot_steer_the_terminal() {
        let mut rows = Rows::new(["a", "b"]);
        rows.push(vec!["x\u{1b}[2Jy\nz".into(), 1.into()]);
        let text = written(&rows, 80, boxed);
        assert!(text.contains("x\u{fffd}[2Jy↵z"), "{text}");
    }

    #[test]
    fn a_plan_keeps_its_lines_and_their_indent() {
        let mut rows = Rows::new(["plan"]);
        rows.push(vec!["limit 10\n  scan items".into()]);
        let text = written(&rows, 80, boxed);
        assert!(text.contains("│ limit 10     │\n│   scan items │"), "{text}");
    }

    #[test]
    fn markdown_escapes_bars() {
        let mut rows = Rows::new(["a|b", "n"]);
        rows.push(vec!["x|y".into(), 1.into()]);
        assert_eq!(written(&rows, 80, markdown), "| a\\|b | n |\n| --- | ---: |\n| x\\|y | 1 |\n");
    }
}
