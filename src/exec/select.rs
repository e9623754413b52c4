//! SELECT: rows along an access path, filtered, ranked, grouped, ordered, cut.

use std::cmp::Ordering;

use sidql_storage::{ItemNo, View, generations, items, reach, sids};

use super::filter::{eval, holds, total_order};
use super::row::{Fetch, Known};
use super::{codes, group, near, relation};
use crate::cache::Cache;
use crate::error::Result;
use crate::index::Accepted;
use crate::job::Runner;
use crate::plan::expr::Expr;
use crate::plan::relation::Relation;
use crate::plan::select::{Access, Select};
use crate::progress::Progress;
use crate::value::{Note, Row, Rows};

/// Rows between two looks at whether the statement was interrupted.
const CHECK_EVERY: usize = 256;

/// What a SELECT reads from.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// The snapshot or transaction.
    pub(crate) view: &'a dyn View,
    /// The moment of the file that the snapshot shows; none in a transaction.
    pub(crate) moment: Option<u64>,
    /// What is kept ready.
    pub(crate) cache: &'a Cache,
    /// Where an interruption shows.
    pub(crate) progress: &'a Progress,
    /// Who knows how far running jobs are.
    pub(crate) runner: &'a Runner,
}

/// Runs a SELECT.
pub(crate) fn run(reading: Reading<'_>, select: &Select) -> Result<Rows> {
    let mut rows = Rows::new(columns(select));
    let note = each(reading, select, &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    rows.notes.extend(note);
    Ok(rows)
}

/// The names of what a SELECT gives.
pub(crate) fn columns(select: &Select) -> impl Iterator<Item = &str> {
    select.columns.iter().map(|(name, _)| name.as_str())
}

/// Runs a SELECT and hands over row by row; tells what is to be known of how they were found. Where nothing is grouped,
/// ranked or ordered, no more than a row is held.
pub(crate) fn each(
    reading: Reading<'_>,
    select: &Select,
    take: &mut dyn FnMut(Row) -> Result<()>,
) -> Result<Option<Note>> {
    if select.limit == Some(0) {
        return Ok(None);
    }
    let wanted = select.limit.unwrap_or(usize::MAX);
    let mut give =
        |row: &Row| take(select.columns.iter().map(|(_, expr)| eval(expr, row)).collect());
    let counted = select.group.as_ref().and_then(|group| Some((group, group.counted?)));
    if let Some((group, levels)) = counted {
        let mut output = codes::count(reading, select, group, levels)?;
        order(&mut output, &select.order);
        output.iter().skip(select.offset).take(wanted).try_for_each(give)?;
        return Ok(None);
    }
    let (rows, note) = match &select.near {
        Some(near) => {
            let (found, note) = near::rows(reading, select, near)?;
            (Box::new(found.into_iter().map(Ok)) as Sources<'_>, Some(note))
        }
        None => (sources(reading, select)?, None),
    };
    if select.group.is_none() && select.order.is_empty() {
        for row in rows.skip(select.offset).take(wanted) {
            give(&row?)?;
        }
        return Ok(note);
    }
    let mut output = match &select.group {
        Some(group) => group::group(group, rows)?,
        None => rows.collect::<Result<Vec<Row>>>()?,
    };
    order(&mut output, &select.order);
    output.iter().skip(select.offset).take(wanted).try_for_each(give)?;
    Ok(note)
}

/// The rows of a SELECT before grouping, projection and order.
type Sources<'a> = Box<dyn Iterator<Item = Result<Row>> + 'a>;

/// The rows of a SELECT without NEAR. Where nothing stands between, they end as soon as LIMIT is reached.
fn sources<'a>(reading: Reading<'a>, select: &'a Select) -> Result<Sources<'a>> {
    let rows: Sources<'a> = if select.relation == Relation::Items {
        Box::new(item_rows(reading, select)?.map(|row| row.map(|(_, row)| row)))
    } else if let Access::Tree { generation, nodes, .. } = &select.access {
        Box::new(codes::nodes(reading, select, *generation, nodes)?.into_iter().map(Ok))
    } else {
        let all = relation::rows(reading, select.relation, &select.sources)?;
        let filter = select.filter.as_ref();
        Box::new(all.into_iter().filter(move |row| holds(filter, row)).map(Ok))
    };
    let streams = select.group.is_none() && select.order.is_empty();
    let most = select.limit.map_or(usize::MAX, |limit| limit.saturating_add(select.offset));
    Ok(if streams { Box::new(rows.take(most)) } else { rows })
}

/// The items that a SELECT's path reaches and its filter accepts, with their rows of sources.
pub(crate) fn item_rows<'a>(
    reading: Reading<'a>,
    select: &'a Select,
) -> Result<impl Iterator<Item = Result<(ItemNo, Row)>> + 'a> {
    let fetch = Fetch::new(reading.view, &select.sources)?;
    let filter = select.filter.as_ref();
    let mut count = 0;
    let rows = candidates(reading.view, select, fetch)?;
    Ok(rows.filter_map(move |row| {
        count += 1;
        if count % CHECK_EVERY == 0
            && let Err(error) = reading.progress.check()
        {
            return Some(Err(error));
        }
        match row {
            Ok((number, row)) => holds(filter, &row).then_some(Ok((number, row))),
            Err(error) => Some(Err(error)),
        }
    }))
}

type Candidates<'a> = Box<dyn Iterator<Item = Result<(ItemNo, Row)>> + 'a>;

fn candidates<'a>(
    view: &'a dyn View,
    select: &'a Select,
    fetch: Fetch<'a>,
) -> Result<Candidates<'a>> {
    Ok(match &select.access {
        Access::Scan => Box::new(items::scan(view, 0)?.map(move |row| {
            let (number, item) = row?;
            Ok((number, fetch.row(number, &Known { item: Some(&item), ..Known::default() })?))
        })),
        Access::Ids(ids) => Box::new(ids.iter().filter_map(move |id| {
            let found = items::by_id(view, id).transpose()?;
            Some(found.map_err(Into::into).and_then(|(number, item)| {
                Ok((number, fetch.row(number, &Known { item: Some(&item), ..Known::default() })?))
            }))
        })),
        Access::Reach(reach) => {
            let generation = reach.generation;
            let found = reach::items_within(view, generation, reach.ranges.clone())?;
            Box::new(found.map(move |row| {
                let (sid, number) = row?;
                let known = Known { sid: Some((generation, &sid)), ..Known::default() };
                Ok((number, fetch.row(number, &known)?))
            }))
        }
        Access::Sids(reach) => in_order(view, reach.generation, fetch)?,
        // Nodes are no items.
        Access::Tree { .. } => Box::new(std::iter::empty()),
        Access::Prefixes { generation, prefixes, .. } => {
            let generation = *generation;
            let ranges: Vec<_> = prefixes
                .iter()
                .map(|prefix| sids::items_under(view, generation, prefix))
                .collect::<Result<_, _>>()?;
            Box::new(ranges.into_iter().flatten().map(move |row| {
                let (sid, number) = row?;
                let known = Known { sid: Some((generation, &sid)), ..Known::default() };
                Ok((number, fetch.row(number, &known)?))
            }))
        }
    })
}

/// Every item in the order of its SID, those without one last.
fn in_order<'a>(view: &'a dyn View, generation: u32, fetch: Fetch<'a>) -> Result<Candidates<'a>> {
    let fetch = std::rc::Rc::new(fetch);
    let bare = std::rc::Rc::clone(&fetch);
    let with = sids::scan(view, generation)?.map(move |row| {
        let (sid, number) = row?;
        let known = Known { sid: Some((generation, &sid)), ..Known::default() };
        Ok((number, fetch.row(number, &known)?))
    });
    if generations::must(view, generation)?.items == items::count(view)? {
        return Ok(Box::new(with));
    }
    let without = items::scan(view, 0)?.filter_map(move |row| {
        let made = || {
            let (number, item) = row?;
            if sids::get(view, generation, number)?.is_some() {
                return Ok(None);
            }
            let known = Known { item: Some(&item), ..Known::default() };
            Ok(Some((number, bare.row(number, &known)?)))
        };
        made().transpose()
    });
    Ok(Box::new(with.chain(without)))
}

/// The numbers of the items that a predicate accepts.
pub(crate) fn numbers(reading: Reading<'_>, select: &Select) -> Result<Vec<ItemNo>> {
    item_rows(reading, select)?.map(|row| row.map(|(number, _)| number)).collect()
}

/// The same as a set.
pub(crate) fn accepted(reading: Reading<'_>, select: &Select) -> Result<Accepted> {
    Ok(Accepted::of(numbers(reading, select)?))
}

/// What tells the path and the filter of a SELECT from those of another.
pub(crate) fn predicate(select: &Select) -> String {
    format!("{:?} {:?} {:?}", select.access, select.sources, select.filter)
}

fn order(rows: &mut [Row], keys: &[(Expr, bool)]) {
    if keys.is_empty() {
        return;
    }
    // Nulls are last in both directions, so that DESC does not open with them.
    rows.sort_by_cached_key(|row| {
        Keyed(keys.iter().map(|(expr, down)| (eval(expr, row), *down)).collect())
    });
}

/// The keys of one row, each with its direction.
#[derive(PartialEq)]
struct Keyed(Vec<(crate::value::Value, bool)>);

impl Eq for Keyed {}

impl PartialOrd for Keyed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyed {
    fn cmp(&self, other: &Self) -> Ordering {
        let keys = self.0.iter().zip(&other.0);
        keys.map(|((l, down), (r, _))| match (l.is_null(), r.is_null()) {
            (false, false) if *down => total_order(r, l),
            _ => total_order(l, r),
        })
        .fold(Ordering::Equal, Ordering::then)
    }
}
