//! A place of a text, and an error, as lines for a reader.

use std::ops::Range;

use unicode_width::UnicodeWidthChar;

use crate::error::ParseError;
use crate::span::{floor, line_column};

/// The most columns of a line that are shown.
const MAX_COLUMNS: usize = 100;
/// How many columns are kept before the place when the line is clipped.
const BEFORE: usize = 40;
const TAB: usize = 4;

/// A syntax error with its message, its place and its help.
pub fn report(text: &str, error: &ParseError) -> String {
    let mut report = format!("error: {}\n{}", error.message, caret(text, error.span.clone()));
    if let Some(help) = &error.help {
        report.push_str("\nhelp: ");
        report.push_str(help);
    }
    report
}

/// The lines of a place with their numbers and a caret underline.
///
/// ```
/// let text = "SELECT items WHRE price < 3;";
/// let shown = "  |\n1 | SELECT items WHRE price < 3;\n  |              ^^^^";
/// assert_eq!(sidql_grammar::report::caret(text, 13..17), shown);
/// ```
pub fn caret(text: &str, span: Range<usize>) -> String {
    let start = floor(text, span.start);
    let end = floor(text, span.end).max(start);
    let (first, _) = line_column(text, start);
    let (last, _) = line_column(text, end);
    let width = last.to_string().len();
    let mut shown = format!("{:width$} |", "");
    let mut from = text[..start].rfind('\n').map_or(0, |at| at + 1);
    for number in first..=last {
        let to = text[from..].find('\n').map_or(text.len(), |at| from + at);
        // Of a place that spans many lines the first two and the last are enough.
        if number < first + 2 || number == last {
            let line = text[from..to].trim_end_matches('\r');
            let begin = start.saturating_sub(from).min(line.len());
            let finish = (end - from).min(line.len());
            let (line, underline) = clip(line, begin, finish.max(begin));
            shown.push_str(&format!("\n{number:width$} | {line}\n{:width$} | {underline}", ""));
        } else if number == first + 2 {
            shown.push_str("\n...");
        }
        from = (to + 1).min(text.len());
    }
    shown
}

/// The line as a terminal shows it and its underline, clipped around the place.
fn clip(line: &str, begin: usize, end: usize) -> (String, String) {
    let mut cells: Vec<(char, usize)> = Vec::new();
    let (mut first, mut last) = (0, 0);
    let mut column = 0;
    let mut cut = 0;
    for (at, letter) in line.char_indices() {
        if at <= begin {
            (first, cut) = (column, cells.len());
        }
        if at < end {
            last = column + width(letter, column);
        }
        column += width(letter, column);
        cells.push((letter, column));
    }
    if begin >= line.len() {
        (first, cut) = (column, cells.len());
    }
    let last = last.max(first + 1);
    if column <= MAX_COLUMNS {
        return (draw(&cells, 0), underline(first, last));
    }
    // Near the end of the line there is room for more before the place.
    let keep_from = first.saturating_sub(BEFORE).min(column - MAX_COLUMNS);
    let skipped = cells[..cut].iter().take_while(|(_, to)| *to <= keep_from).count();
    let offset = if skipped == 0 { 0 } else { cells[skipped - 1].1 };
    let rest = &cells[skipped..];
    let kept = rest.iter().take_while(|(_, to)| to - offset <= MAX_COLUMNS).count();
    let mut shown = draw(&rest[..kept], offset);
    if kept < rest.len() {
        shown.push('…');
    }
    let lead = usize::from(skipped > 0);
    if lead > 0 {
        shown.insert(0, '…');
    }
    let last = last.min(offset + MAX_COLUMNS + 1).max(first + 1);
    (shown, underline(first - offset + lead, last - offset + lead))
}

/// How many columns of a terminal a character takes.
fn width(letter: char, column: usize) -> usize {
    match letter {
        '\t' => TAB - column % TAB,
        _ => letter.width().unwrap_or(1),
    }
}

/// Characters with tabs as spaces and control characters made visible.
fn draw(cells: &[(char, usize)], offset: usize) -> String {
    let mut line = String::new();
    let mut before = offset;
    for (letter, to) in cells {
        match letter {
            '\t' => line.extend(std::iter::repeat_n(' ', to - before)),
            letter if letter.is_control() => line.push('\u{fffd}'),
            letter => line.push(*letter),
        }
        before = *to;
    }
    line
}

fn underline(first: usize, last: usize) -> String {
    " ".repeat(first) + &"^".repeat(last - first)
}

#[cfg(test)]
mod tests {
    use super::caret;

    #[test]
    fn tabs_and_wide_characters_keep_the_caret_in_place() {
        assert_eq!(caret("\ta = 'x", 5..6), "  |\n1 |     a = 'x\n  |         ^");
        assert_eq!(caret("足球 x", 7..8), "  |\n1 | 足球 x\n  |      ^");
    }

    #[test]
    fn the_end_of_a_line_can_be_pointed_at() {
        assert_eq!(caret("SELECT", 6..6), "  |\n1 | SELECT\n  |       ^");
        assert_eq!(caret("", 0..0), "  |\n1 | \n  | ^");
        assert_eq!(caret("a\n", 2..2), "  |\n2 | \n  | ^");
    }

    #[test]
    fn a_place_may_span_lines() {
        let shown = "  |\n1 | a b\n  |   ^\n2 | c d\n  | ^";
        assert_eq!(caret("a b\nc d", 2..5), shown);
    }

    #[test]
    fn long_lines_are_clipped_around_the_place() {
        let text = format!("{}WHRE{}", "x".repeat(500), "y".repeat(500));
        let shown = caret(&text, 500..504);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() < 110), "{shown}");
        let at = lines[2].find('^').unwrap_or_default();
        let under: String = lines[1].chars().skip(at).take(4).collect();
        assert_eq!(under, "WHRE");
        assert!(lines[2].ends_with(" ^^^^"), "{shown}");
    }

    #[test]
    fn any_range_is_safe() {
        for start in 0..8 {
            for end in 0..8 {
                assert!(caret("é\n足\t", start..end).starts_with("  |"));
            }
        }
    }
}
