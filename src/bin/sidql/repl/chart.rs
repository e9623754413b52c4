//! Pictures of numbers in plain characters: curves, columns and bars. No colour, nothing that steers the terminal.
//!
//! Of the crates that draw in a terminal, the small ones tell two curves apart by colour alone and name only the ends of
//! an axis; the one that does both brings a dozen others along.

use std::cmp::Ordering;

use unicode_width::UnicodeWidthStr;

use super::number::{grouped, short};

/// Lines of a picture of curves.
const CURVE_LINES: usize = 12;
/// Lines of a picture of columns.
const COLUMN_LINES: usize = 5;
/// Columns of a picture, however narrow the screen is.
const NARROWEST: usize = 16;
/// Parts of a character that is filled from below.
const RISING: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Parts of a character that is filled from the left.
const GROWING: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
/// Digits of the numbers at an axis.
const DIGITS: i32 = 4;

/// A figure over steps.
pub(super) struct Curve<'a> {
    /// Its points, by step.
    pub(super) points: &'a [(f64, f64)],
    /// The character that draws it.
    pub(super) mark: char,
    /// Whether its points are joined.
    pub(super) joined: bool,
}

/// Curves over the same axes, the later ones above the earlier.
pub(super) fn curves(all: &[Curve<'_>], width: usize) -> String {
    let points = || all.iter().flat_map(|curve| curve.points);
    let (left, right) = range(points().map(|point| point.0));
    let (low, high) = range(points().map(|point| point.1));
    let labels = [high, f64::midpoint(low, high), low].map(|value| short(value, DIGITS));
    let margin = labels.iter().map(String::len).max().unwrap_or(0);
    let columns = width.saturating_sub(margin + 3).max(NARROWEST);
    let mut cells = vec![vec![' '; columns]; CURVE_LINES];
    for curve in all {
        let column = |x: f64| ((x - left) / (right - left) * (columns - 1) as f64).round() as usize;
        let line = |y: f64| ((high - y) / (high - low) * (CURVE_LINES - 1) as f64).round() as usize;
        draw(&mut cells, curve, &by_column(curve.points, column), line);
    }
    let mut text = String::new();
    for (at, cells) in cells.iter().enumerate() {
        let label = match at {
            0 => &labels[0],
            at if at == (CURVE_LINES - 1) / 2 => &labels[1],
            at if at == CURVE_LINES - 1 => &labels[2],
            _ => "",
        };
        let cells: String = cells.iter().collect();
        push(&mut text, &format!("{label:>margin$} |{cells}"));
    }
    push(&mut text, &format!("{:margin$} +{}", "", "-".repeat(columns)));
    let (first, last) = (grouped(left as u64), grouped(right as u64));
    let gap = columns.saturating_sub(first.len());
    push(&mut text, &format!("{:margin$}  {first}{last:>gap$}", ""));
    text
}

/// The mean of the points of each column that has any.
fn by_column(points: &[(f64, f64)], column: impl Fn(f64) -> usize) -> Vec<(usize, f64)> {
    let mut means: Vec<(usize, f64)> = Vec::new();
    for same in points.chunk_by(|one, next| column(one.0) == column(next.0)) {
        let mean = same.iter().map(|point| point.1).sum::<f64>() / same.len() as f64;
        means.push((column(same[0].0), mean));
    }
    means
}

fn draw(
    cells: &mut [Vec<char>],
    curve: &Curve<'_>,
    places: &[(usize, f64)],
    line: impl Fn(f64) -> usize,
) {
    for (at, value) in places {
        cells[line(*value)][*at] = curve.mark;
    }
    for two in places.windows(2).filter(|_| curve.joined) {
        let [(from, start), (to, end)] = [two[0], two[1]];
        let mut before = line(start);
        for (step, at) in (from..=to).enumerate().skip(1) {
            let share = step as f64 / (to - from) as f64;
            let now = line(start + (end - start) * share);
            // What jumps over lines is drawn through them.
            let passed = match now.cmp(&before) {
                Ordering::Less => now..=before - 1,
                Ordering::Equal => now..=now,
                Ordering::Greater => before + 1..=now,
            };
            cells[passed].iter_mut().for_each(|cells| cells[at] = curve.mark);
            before = now;
        }
    }
}

/// The least and the most, a little apart where they are the same.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
    if low < high { (low, high) } else { (low - 0.5, low + 0.5) }
}

/// Counts as columns side by side, several in one column where the screen is narrow.
pub(super) fn columns(counts: &[u64], width: usize) -> String {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let label = grouped(most);
    let margin = label.len();
    let room = width.saturating_sub(margin + 3).max(NARROWEST);
    let together = counts.len().div_ceil(room).max(1);
    let parts: Vec<usize> = counts
        .chunks(together)
        .map(|some| {
            let mean = some.iter().sum::<u64>() as f64 / some.len() as f64;
            // What is there is seen, however little it is.
            (mean / most as f64 * (COLUMN_LINES * 8) as f64).ceil() as usize
        })
        .collect();
    let mut text = String::new();
    for line in (0..COLUMN_LINES).rev() {
        let label = if line == COLUMN_LINES - 1 { label.as_str() } else { "" };
        let cells: String =
            parts.iter().map(|part| RISING[part.saturating_sub(line * 8).min(8)]).collect();
        push(&mut text, &format!("{label:>margin$} |{cells}"));
    }
    push(&mut text, &format!("{:>margin$} +{}", "0", "-".repeat(parts.len())));
    text
}

/// Counts as bars, one a line behind its name.
pub(super) fn bars(named: &[(String, u64)], width: usize) -> String {
    let names = named.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
    let counts: Vec<String> = named.iter().map(|(_, count)| grouped(*count)).collect();
    let digits = counts.iter().map(String::len).max().unwrap_or(0);
    let most = named.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let room = width.saturating_sub(names + digits + 4).max(NARROWEST);
    let mut text = String::new();
    for ((name, count), told) in named.iter().zip(&counts) {
        let parts = (*count as f64 / most as f64 * (room * 8) as f64).ceil() as usize;
        let whole = "█".repeat(parts / 8);
        let rest = GROWING[parts % 8];
        push(&mut text, &format!("{name:>names$}  {told:>digits$}  {whole}{rest}"));
    }
    text
}

/// Appends a line without blanks at its end.
fn push(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_share_their_axes() {
        let falling: Vec<(f64, f64)> =
            (0..200).map(|x| (f64::from(x), 8.0 / (1.0 + f64::from(x) / 20.0))).collect();
        let checks = [(50.0, 4.0), (100.0, 3.0), (150.0, 3.5)];
        let curve = |points, mark, joined| Curve { points, mark, joined };
        let text = curves(&[curve(&falling, '*', true), curve(&checks, 'o', false)], 40);
        let picture = [
            "     8 |",
            "       |*",
            "       | *",
            "       | *",
            "       |  *",
            " 4.365 |  *",
            "       |   *    o",
            "       |    *                  o",
            "       |     ***       o",
            "       |        ***",
            "       |           *********",
            "0.7306 |                    ***********",
            "       +-------------------------------",
            "        0                           199",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), picture, "{text}");
    }

    #[test]
    fn one_point_is_a_picture_too() {
        let text = curves(&[Curve { points: &[(5.0, 1.0)], mark: '*', joined: true }], 30);
        assert_eq!(text.matches('*').count(), 1, "{text}");
    }

    #[test]
    fn columns_show_the_least_and_the_nothing() {
        let text = columns(&[1000, 500, 1, 0], 40);
        assert_eq!(text, "1,000 |█\n      |█\n      |█▄\n      |██\n      |██▁\n    0 +----\n");
        let many: Vec<u64> = (0..1000).rev().collect();
        assert!(columns(&many, 40).lines().all(|line| line.width() <= 40));
    }

    #[test]
    fn bars_are_as_long_as_their_counts() {
        let text = bars(&[("1".to_owned(), 1600), ("2 to 3".to_owned(), 100)], 33);
        let full = "█".repeat(18);
        assert_eq!(text, format!("     1  1,600  {full}\n2 to 3    100  █▏\n"));
    }
}
