//! `.plot`: the figures of a job, and how full the codes of a codebook are.

use sidql::grammar::pattern::letters;
use sidql::{Rows, Value};

use super::chart::{self, Curve};
use super::number::{grouped, short};
use super::shell::Shell;

/// How the command is called.
pub(super) const USAGE: &str = "job [N [FIGURE …]] | codebook NAME [GENERATION]";

/// What cannot be drawn, and why.
pub(super) type Drawn = Result<String, String>;

/// The figures that are drawn together where none is named.
const LOSS: [&str; 2] = ["loss", "val_loss"];

/// Pictures of this many levels at most; a codebook has 3 or 4 as a rule.
const LEVELS: usize = 6;

/// The picture that the words ask for.
pub(super) fn plot(shell: &mut Shell, words: &[String], width: usize) -> Drawn {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["job"] => latest(shell).and_then(|job| job_curves(shell, job, &[], width)),
        ["job", number, figures @ ..] => {
            let job = number.parse().map_err(|_| format!("`{number}` is no number of a job"))?;
            job_curves(shell, job, figures, width)
        }
        ["codebook", name] => codebook(shell, name, None, width),
        ["codebook", name, generation] => {
            let wrong = |_| format!("`{generation}` is no number of a generation");
            codebook(shell, name, Some(generation.parse().map_err(wrong)?), width)
        }
        _ => Err(format!("say .plot {USAGE}")),
    }
}

fn asked(shell: &mut Shell, question: &str) -> Result<Rows, String> {
    shell.ask(question).map_err(|error| {
        let help = error.help_text().map_or(String::new(), |help| format!("; {help}"));
        format!("{}{help}", error.message())
    })
}

fn latest(shell: &mut Shell) -> Result<u64, String> {
    let rows = asked(shell, "SELECT job FROM curves ORDER BY job DESC LIMIT 1")?;
    let job = rows.get(0, "job").and_then(Value::as_i64);
    job.map(|job| job as u64).ok_or_else(|| {
        "no job has noted a figure yet; training does: TRAIN POLICY p IN BACKGROUND".to_owned()
    })
}

fn job_curves(shell: &mut Shell, job: u64, named: &[&str], width: usize) -> Drawn {
    let about = asked(shell, &format!("SELECT state, statement FROM jobs WHERE job = {job}"))?;
    let told = |column| about.get(0, column).map(Value::to_string);
    let (Some(state), Some(statement)) = (told("state"), told("statement")) else {
        return Err(format!("there is no job {job}; `SHOW JOBS;` lists them"));
    };
    let rows = asked(shell, &format!("SELECT figure, step, value FROM curves WHERE job = {job}"))?;
    let figures = figures(&rows);
    let known: Vec<&str> = figures.iter().map(|(name, _)| name.as_str()).collect();
    if known.is_empty() {
        return Err(format!("job {job} has noted no figures"));
    }
    if let Some(name) = named.iter().find(|name| !known.contains(*name)) {
        return Err(format!("job {job} has no figure `{name}`; it has {}", known.join(", ")));
    }
    let wanted: Vec<&str> = match named {
        [] if known.contains(&LOSS[0]) => LOSS.to_vec(),
        [] => known.clone(),
        named => named.to_vec(),
    };
    let of = |name: &&str| figures.iter().find(|(known, _)| known == name);
    let drawn: Vec<&Figure> = wanted.iter().filter_map(of).collect();
    let first_line = statement.lines().next().unwrap_or_default();
    let mut text = format!("job {job}, {state}: {first_line}\n");
    match drawn.as_slice() {
        [one, other] if overlap(&one.1, &other.1) => {
            let marked = [('*', true, *one), ('o', false, *other)];
            let curves = marked.map(|(mark, joined, (_, points))| Curve { points, mark, joined });
            text += &chart::curves(&curves, width);
            for (mark, _, (name, points)) in marked {
                text += &format!("{mark} {name}: {}\n", ends(points));
            }
        }
        each => {
            for (name, points) in each {
                text += &chart::curves(&[Curve { points, mark: '*', joined: true }], width);
                text += &format!("* {name}: {}\n", ends(points));
            }
        }
    }
    let left = known.iter().filter(|name| !drawn.iter().any(|(drawn, _)| drawn == *name));
    let left: Vec<&str> = left.copied().collect();
    if !left.is_empty() {
        text += &format!("further figures: {}\n", left.join(", "));
    }
    Ok(text)
}

/// A figure and its points.
type Figure = (String, Vec<(f64, f64)>);

fn figures(rows: &Rows) -> Vec<Figure> {
    let mut figures: Vec<Figure> = Vec::new();
    for row in &rows.rows {
        let [name, step, value] = row.as_slice() else { continue };
        let (Some(step), Some(value)) = (step.as_f64(), value.as_f64()) else { continue };
        let name = name.to_string();
        match figures.iter_mut().find(|(known, _)| *known == name) {
            Some((_, points)) => points.push((step, value)),
            None => figures.push((name, vec![(step, value)])),
        }
    }
    figures
}

/// Whether the values of two figures are of a kind: one axis shows both.
fn overlap(one: &[(f64, f64)], other: &[(f64, f64)]) -> bool {
    let range = |points: &[(f64, f64)]| {
        let values = points.iter().map(|point| point.1);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)))
    };
    let ((low, high), (least, most)) = (range(one), range(other));
    low <= most && least <= high
}

/// A curve in words: its end, its least and its most.
fn ends(points: &[(f64, f64)]) -> String {
    let Some(last) = points.last() else { return String::new() };
    let least = points.iter().min_by(|one, other| one.1.total_cmp(&other.1)).unwrap_or(last);
    format!(
        "{} at step {}, the least {} at step {}",
        short(last.1, 5),
        grouped(last.0 as u64),
        short(least.1, 5),
        grouped(least.0 as u64)
    )
}

fn codebook(shell: &mut Shell, name: &str, wanted: Option<i64>, width: usize) -> Drawn {
    let quoted = format!("'{}'", name.replace('\'', "''"));
    let of = |generation| match generation {
        Some(generation) => format!("codes({quoted}, {generation})"),
        None => format!("codes({quoted})"),
    };
    let codes = asked(shell, &format!("SELECT level, prefix, items FROM {}", of(wanted)))?;
    let all = asked(
        shell,
        &format!("SELECT generation, state, sizes FROM generations WHERE codebook = {quoted}"),
    )?;
    let state = |row: &usize| all.get(*row, "state").map(Value::to_string);
    let number = |row: &usize| all.get(*row, "generation").and_then(Value::as_i64);
    let row = (0..all.len()).find(|row| match wanted {
        Some(wanted) => number(row) == Some(wanted),
        None => state(row).as_deref() == Some("published"),
    });
    let sizes: Vec<usize> = match row.and_then(|row| all.get(row, "sizes")) {
        Some(Value::List(sizes)) => {
            sizes.iter().filter_map(Value::as_i64).map(|size| size as usize).collect()
        }
        _ => Vec::new(),
    };
    let generation = row.as_ref().and_then(number).unwrap_or_default();
    let levels = tally(&codes, &sizes);
    if levels.is_empty() {
        return Err(format!("no item has a sid in codebook `{name}`"));
    }
    let mut text = format!("codebook `{name}`, generation {generation}\n");
    for (at, level) in levels.iter().take(LEVELS).enumerate() {
        text += &code_use(at, level, width);
    }
    for (at, level) in levels.iter().take(LEVELS).enumerate() {
        text += &buckets(at, level, width);
    }
    if levels.len() > LEVELS {
        text += &format!("\n… and {} more levels\n", levels.len() - LEVELS);
    }
    Ok(text)
}

/// What one level holds.
#[derive(Default)]
struct Level {
    /// Items of each code, whatever stands before it.
    codes: Vec<u64>,
    /// Items of each prefix that ends here.
    prefixes: Vec<u64>,
}

fn tally(rows: &Rows, sizes: &[usize]) -> Vec<Level> {
    let mut levels: Vec<Level> = Vec::new();
    for row in &rows.rows {
        let [depth, Value::Sid(prefix), items] = row.as_slice() else { continue };
        let (Some(depth), Some(items)) = (depth.as_i64(), items.as_i64()) else { continue };
        let Some(code) = prefix.codes().last() else { continue };
        let (at, items) = (depth as usize - 1, items as u64);
        if levels.len() <= at {
            levels.resize_with(at + 1, Level::default);
        }
        let level = &mut levels[at];
        let size = sizes.get(at).copied().unwrap_or(0).max(usize::from(*code) + 1);
        if level.codes.len() < size {
            level.codes.resize(size, 0);
        }
        level.codes[usize::from(*code)] += items;
        level.prefixes.push(items);
    }
    levels
}

fn code_use(at: usize, level: &Level, width: usize) -> String {
    let mut counts = level.codes.clone();
    counts.sort_unstable_by(|one, other| other.cmp(one));
    let used = counts.iter().filter(|count| **count > 0).count();
    let mean = counts.iter().sum::<u64>() as f64 / used.max(1) as f64;
    format!(
        "\nlevel {}: {} of {} codes used, {} items each on average; items of each code, the fullest first\n{}",
        letters(at),
        grouped(used as u64),
        grouped(counts.len() as u64),
        short(mean, 3),
        chart::columns(&counts, width)
    )
}

/// How many prefixes hold 1, 2 to 3, 4 to 7, … items.
fn buckets(at: usize, level: &Level, width: usize) -> String {
    let band = |items: u64| items.max(1).ilog2() as usize;
    let most = level.prefixes.iter().copied().max().unwrap_or(0);
    let mut counts = vec![0; band(most) + 1];
    for items in &level.prefixes {
        counts[band(*items)] += 1;
    }
    let named = counts.into_iter().enumerate().map(|(band, count)| {
        let (least, most) = (1_u64 << band, ((1_u64 << band) * 2 - 1).min(most));
        let name = if least == most { least.to_string() } else { format!("{least} to {most}") };
        (name, count)
    });
    let prefix: Vec<String> = (0..=at).map(letters).collect();
    format!(
        "\n{}: prefixes by how many items they hold\n{}",
        prefix.join("."),
        chart::bars(&named.collect::<Vec<_>>(), width)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidql::Sid;

    #[test]
    fn levels_count_codes_and_prefixes() {
        let mut rows = Rows::new(["level", "prefix", "items"]);
        let mut push = |codes: &[u16], items: i64| {
            let sid = Sid::new(codes).map_or(Value::Null, Value::Sid);
            rows.push(vec![codes.len().into(), sid, items.into()]);
        };
        push(&[0], 3);
        push(&[2], 1);
        push(&[0, 1], 3);
        push(&[2, 1], 1);
        let levels = tally(&rows, &[4, 2]);
        assert_eq!(levels[0].codes, [3, 0, 1, 0]);
        assert_eq!((&levels[1].codes[..], &levels[1].prefixes[..]), (&[0, 4][..], &[3, 1][..]));
        let text = buckets(1, &levels[1], 40);
        assert!(text.contains("a.b: prefixes") && text.contains("2 to 3"), "{text}");
    }

    #[test]
    fn figures_of_one_kind_share_an_axis() {
        assert!(overlap(&[(1.0, 3.0), (2.0, 1.0)], &[(2.0, 2.0)]));
        assert!(!overlap(&[(1.0, 3.0), (2.0, 1.0)], &[(2.0, 0.5)]));
    }
}
