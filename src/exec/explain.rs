//! EXPLAIN: the plan as text; with ANALYZE also what happened when it ran.

use std::time::Instant;

use super::{Context, Outcome, execute, recommend};
use crate::decode::Trace;
use crate::error::Result;
use crate::plan::{Plan, explain};
use crate::value::{Rows, Sid};

/// Runs an EXPLAIN.
pub(crate) fn run(context: &mut Context<'_>, plan: Plan, analyze: bool) -> Result<Outcome> {
    let mut lines = explain::lines(&plan);
    if analyze {
        let started = Instant::now();
        let mut notes = Vec::new();
        let (rows, trace) = if let Plan::Recommend(asked) = &plan {
            let (trace, answer) = recommend::traced(context, asked)?;
            let mut told = trace_lines(&trace);
            told.push("answer".to_owned());
            told.extend(answer.iter().map(|line| format!("  {line}")));
            (answer.len(), told)
        } else {
            let rows = match execute(context, plan)? {
                Outcome::Rows(rows) => {
                    notes.clone_from(&rows.notes);
                    rows.len()
                }
                _ => 0,
            };
            (rows, Vec::new())
        };
        let ms = started.elapsed().as_secs_f64() * 1e3;
        lines.push(format!("{rows} rows in {ms:.2} ms"));
        lines.extend(notes.iter().map(ToString::to_string));
        lines.extend(trace);
    }
    let mut rows = Rows::new(["plan"]);
    for line in lines {
        rows.push(vec![line.into()]);
    }
    Ok(Outcome::Rows(rows))
}

/// The beam by level: what there was, what the mask took, what the width dropped, what was kept.
fn trace_lines(trace: &Trace) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, level) in trace.levels.iter().enumerate() {
        lines.push(format!(
            "level {}: {} children, {} masked, {} dropped, {} kept",
            sidql_storage::level_name(at),
            level.children,
            level.masked,
            level.dropped,
            level.kept.len()
        ));
        for beam in &level.kept {
            let prefix = Sid::new(&beam.prefix).map_or(String::new(), |sid| sid.to_string());
            let probability = beam.score.exp();
            lines.push(format!("  {prefix}: probability {probability:.5}, {} items", beam.items));
        }
    }
    lines
}
