//! SELECT where SIDs are all that is read: the tree as the relation `codes`, and items by their posting lists.

use sidql_grammar::ast;
use sidql_storage::{Generation, View, generations};

use super::aggregate::{Aggregate, AggregateKind};
use super::bind::Catalog;
use super::expr::Expr;
use super::operand;
use super::reach::Reach;
use super::relation::Relation;
use super::scope::Source;
use super::select::{Access, Select};
use crate::error::{Error, Result};

/// The generation whose tree `codes` stands for.
pub(super) fn tree_of(
    catalog: &Catalog<'_>,
    relation: Relation,
    select: &ast::Select,
) -> Result<Option<Generation>> {
    let Some(of) = &select.of else {
        let at = |error: Error| error.at(select.from.span.clone());
        let wanted = relation == Relation::Codes;
        return wanted.then(|| catalog.generation(None, None).map_err(at)).transpose();
    };
    let at = |error: Error| error.at(of.codebook.span.clone());
    if relation != Relation::Codes {
        let message = format!("{} are not of one codebook", relation.name());
        return Err(at(Error::input("needless-codebook", message)
            .help("codes('full', 2) are; of an item, sid('full', 2) is a column")));
    }
    let codebook = operand::text(catalog, &of.codebook.node, &of.codebook.span)?;
    let ordinal = of.generation.as_ref().map(|one| u32::try_from(one.node).unwrap_or(u32::MAX));
    catalog.generation(Some(&codebook), ordinal).map(Some).map_err(at)
}

/// Where nothing but SIDs of one generation is read, they are read from the posting lists, and where groups of
/// prefixes are only counted, from the sizes of these.
pub(super) fn by_postings(view: &dyn View, plan: &mut Select) -> Result<()> {
    let [Source::Sid(number)] = plan.sources.as_slice() else { return Ok(()) };
    if plan.relation != Relation::Items || plan.near.is_some() {
        return Ok(());
    }
    let Some(generation) = generations::get(view, *number)? else { return Ok(()) };
    if plan.access == Access::Scan {
        plan.access = Access::Sids(Reach::all(&generation));
    }
    let exact = match (&plan.access, &plan.filter) {
        (Access::Sids(_), None) => true,
        (Access::Prefixes { .. }, Some(_)) => plan.covered,
        (Access::Reach(reach), Some(_)) => plan.covered && reach.exact,
        _ => false,
    };
    let Some(group) = plan.group.as_mut().filter(|_| exact) else { return Ok(()) };
    let levels = |key: &Expr| match key {
        Expr::Source(_) => Some(generation.sizes.len()),
        Expr::Prefix(sid, levels) if matches!(**sid, Expr::Source(_)) => {
            Some((*levels).min(generation.sizes.len()))
        }
        _ => None,
    };
    let counts = |one: &Aggregate| {
        let of_sids = one.over.as_ref().is_none_or(|over| levels(over).is_some());
        one.kind == AggregateKind::Count && of_sids
    };
    let keys: Option<Vec<usize>> = group.keys.iter().map(levels).collect();
    if let Some(keys) = keys.filter(|_| group.aggregates.iter().all(counts)) {
        group.counted = Some(keys.into_iter().max().unwrap_or(0));
    }
    Ok(())
}
