//! Evaluations by number.

use super::{Table, rows};
use crate::codec::key;
use crate::error::Result;
use crate::record::{EvaluationNo, EvaluationRecord};
use crate::table::counters::Counter;
use crate::txn::Write;
use crate::view::View;

/// The evaluation of a number.
pub fn get(view: &dyn View, number: EvaluationNo) -> Result<Option<EvaluationRecord>> {
    rows::get(view, Table::Evaluations, &key::number(number))
}

/// All evaluations, oldest first.
pub fn all(view: &dyn View) -> Result<Vec<EvaluationRecord>> {
    rows::all(view, Table::Evaluations)
}

/// Adds an evaluation and gives its number.
pub fn add(write: &Write, evaluation: &EvaluationRecord) -> Result<EvaluationNo> {
    let number = write.next(Counter::Evaluation)?;
    let evaluation = EvaluationRecord { number, ..evaluation.clone() };
    rows::put(write, Table::Evaluations, &key::number(number), &evaluation)?;
    Ok(number)
}

/// Removes an evaluation; tells whether it was there.
pub fn delete(write: &Write, number: EvaluationNo) -> Result<bool> {
    write.remove(Table::Evaluations, &key::number(number))
}
