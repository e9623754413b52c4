//! GROUP BY and the aggregates.

use std::collections::HashMap;

use super::filter::{eval, total_order};
use crate::error::Result;
use crate::plan::aggregate::{Aggregate, AggregateKind};
use crate::plan::select::Group;
use crate::value::{Row, Value};

/// One row for each group: its keys, then its aggregates. Groups come in the order of their first rows; without
/// keys there is exactly one group.
pub(crate) fn group(group: &Group, rows: impl Iterator<Item = Result<Row>>) -> Result<Vec<Row>> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<(Row, Vec<State>)> = Vec::new();
    let fresh = || group.aggregates.iter().map(|_| State::default()).collect();
    if group.keys.is_empty() {
        groups.push((Vec::new(), fresh()));
    }
    for row in rows {
        let row = row?;
        let at = if group.keys.is_empty() {
            0
        } else {
            let keys: Row = group.keys.iter().map(|key| eval(key, &row)).collect();
            // The debug form tells every value from every other, also 1 from 1.0 and from '1'.
            *places.entry(format!("{keys:?}")).or_insert_with(|| {
                groups.push((keys, fresh()));
                groups.len() - 1
            })
        };
        for (aggregate, state) in group.aggregates.iter().zip(&mut groups[at].1) {
            state.add(aggregate.over.as_ref().map(|over| eval(over, &row)));
        }
    }
    let finish = |(mut keys, states): (Row, Vec<State>)| {
        let values = group.aggregates.iter().zip(states);
        keys.extend(values.map(|(aggregate, state)| state.value(aggregate)));
        keys
    };
    Ok(groups.into_iter().map(finish).collect())
}

/// What one aggregate remembers. Nulls are left out.
#[derive(Default)]
struct State {
    count: u64,
    int_sum: Option<i64>,
    float_sum: f64,
    floats: bool,
    least: Option<Value>,
    most: Option<Value>,
}

impl State {
    /// Adds a value, or a row for `count(*)`.
    fn add(&mut self, value: Option<Value>) {
        let Some(value) = value else {
            self.count += 1;
            return;
        };
        if value.is_null() {
            return;
        }
        if let Some(number) = value.as_f64() {
            self.float_sum += number;
            match value.as_i64() {
                // An overflow of the integer sum falls back to the float one.
                Some(int) if self.count == 0 => self.int_sum = Some(int),
                Some(int) => self.int_sum = self.int_sum.and_then(|sum| sum.checked_add(int)),
                None => self.floats = true,
            }
        }
        self.count += 1;
        if self.least.as_ref().is_none_or(|least| total_order(&value, least).is_lt()) {
            self.least = Some(value.clone());
        }
        if self.most.as_ref().is_none_or(|most| total_order(&value, most).is_gt()) {
            self.most = Some(value);
        }
    }

    fn value(self, aggregate: &Aggregate) -> Value {
        match aggregate.kind {
            AggregateKind::Count => Value::from(self.count),
            AggregateKind::Min => self.least.unwrap_or(Value::Null),
            AggregateKind::Max => self.most.unwrap_or(Value::Null),
            AggregateKind::Avg | AggregateKind::Sum if self.count == 0 => Value::Null,
            AggregateKind::Avg => Value::Float(self.float_sum / self.count as f64),
            AggregateKind::Sum => match self.int_sum {
                Some(sum) if !self.floats => Value::Int(sum),
                _ => Value::Float(self.float_sum),
            },
        }
    }
}
