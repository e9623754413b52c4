//! Amazon Beauty from two files to evaluated policies: how long each statement takes, and what comes out.

use std::path::{Path, PathBuf};

use sidql::{Database, Outcome, Rows, Session};
use sidql_bench::{Report, Result, option, peak_mib, timed};

/// Where the data lies when no folder is named, seen from the root of the project.
const DATA: &str = "../shared/data/beauty";

fn main() -> Result {
    let mut report = Report::from_args()?;
    let data = option("--data").unwrap_or_else(|| DATA.to_owned());
    let work = tempfile::tempdir()?;
    let file = option("--keep").map_or_else(|| work.path().join("beauty.sidql"), PathBuf::from);
    if file.exists() {
        return Err(format!("{} exists already", file.display()).into());
    }
    let database = Database::open(&file)?;
    let mut bench =
        Bench { session: database.session(), times: Vec::new(), evaluations: Vec::new() };
    let (_, whole) = timed(|| bench.walk(&report, Path::new(&data)))?;
    let mut times = std::mem::take(&mut bench.times);
    let evaluations = std::mem::take(&mut bench.evaluations);
    drop(bench);
    database.close()?;
    times.push(vec!["all".to_owned(), format!("{:.1}", whole.as_secs_f64())]);
    report.table("wall time, seconds", &["statement", "seconds"], &times)?;
    for (title, rows) in &evaluations {
        let columns: Vec<&str> = rows.columns.iter().map(String::as_str).collect();
        let cells: Vec<Vec<String>> =
            rows.rows.iter().map(|row| row.iter().map(|value| cell(value)).collect()).collect();
        report.table(title, &columns, &cells)?;
    }
    let size = std::fs::metadata(&file)?.len() as f64 / f64::from(1 << 20);
    let peak = peak_mib().map_or_else(|| "unknown".to_owned(), |mib| format!("{mib:.0}"));
    let rows = vec![
        vec!["peak memory of the process".to_owned(), peak],
        vec!["file".to_owned(), format!("{size:.1}")],
    ];
    report.table("room, MiB", &["", "MiB"], &rows)
}

fn cell(value: &sidql::Value) -> String {
    match value {
        sidql::Value::Float(figure) => format!("{figure:.4}"),
        other => other.to_string(),
    }
}

struct Bench {
    session: Session,
    times: Vec<Vec<String>>,
    evaluations: Vec<(String, Rows)>,
}

impl Bench {
    fn walk(&mut self, report: &Report, data: &Path) -> Result {
        let sft = option("--epochs")
            .map(|text| text.parse::<u32>())
            .transpose()?
            .map_or_else(String::new, |epochs| format!(" WITH (epochs = {epochs})"));
        let items = format!("COPY items FROM '{}'", quoted(data, "items.jsonl.gz"));
        let histories = format!(
            "COPY interactions FROM '{}' WITH (layout = 'sequences')",
            quoted(data, "sequences.tsv.gz")
        );
        let evaluate = "EVALUATE POLICY best, graph, p ON test AT 5, 10";
        // The statements that name a file are shown without its folder.
        self.run(report, &items, "COPY items")?;
        self.run(report, &histories, "COPY interactions")?;
        for statement in [
            "ENRICH items BY text USING hash",
            "CREATE CODEBOOK full USING rq_kmeans ON text",
            "REBUILD CODEBOOK full WITH (publish = true)",
            "CREATE POLICY best USING popular",
            "TRAIN POLICY best",
            "CREATE POLICY graph USING item_graph",
            "TRAIN POLICY graph",
            "CREATE POLICY p USING decoder ON CODEBOOK full",
            &format!("TRAIN POLICY p USING sft{sft}"),
            evaluate,
            &format!("{evaluate} WITH (filter_seen = false)"),
            "VERIFY",
        ] {
            self.run(report, statement, statement)?;
        }
        Ok(())
    }

    fn run(&mut self, report: &Report, statement: &str, shown: &str) -> Result {
        let (outcome, took) = timed(|| Ok(self.session.execute(statement, ())?))?;
        self.times.push(vec![shown.to_owned(), format!("{:.1}", took.as_secs_f64())]);
        match outcome {
            Outcome::Done { message } => report.say(format!("{shown}: {message}")),
            Outcome::Rows(rows) => {
                report.say(format!("{shown}: {} rows", rows.len()));
                self.evaluations.push((shown.to_owned(), rows));
            }
            other => return Err(format!("{shown}: {other:?}").into()),
        }
        Ok(())
    }
}

fn quoted(folder: &Path, file: &str) -> String {
    folder.join(file).display().to_string().replace('\'', "''")
}
