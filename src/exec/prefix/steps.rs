//! Where users go next from the items under a prefix.

use std::collections::HashSet;

use sidql_storage::{GenerationNo, ItemNo, histories, sids};

use super::super::Context;
use crate::count::counted;
use crate::error::Result;

/// How many of the next items lie under the prefix too, and how much more often than by chance; nothing where no user
/// went on from there.
pub(super) fn of(
    context: &Context<'_>,
    generation: GenerationNo,
    prefix: &[u16],
) -> Result<Option<String>> {
    let view = context.view()?;
    if histories::count(view)? == 0 {
        return Ok(None);
    }
    let mut under: HashSet<ItemNo> = HashSet::new();
    for row in sids::items_under(view, generation, prefix)? {
        under.insert(row?.1);
    }
    let (mut steps, mut into, mut from, mut stays) = (0_u64, 0_u64, 0_u64, 0_u64);
    for row in histories::scan(view, 0)? {
        let (_, history) = row?;
        context.progress.check()?;
        for pair in history.windows(2) {
            let (here, there) = (under.contains(&pair[0].item), under.contains(&pair[1].item));
            steps += 1;
            into += u64::from(there);
            from += u64::from(here);
            stays += u64::from(here && there);
        }
    }
    if from == 0 {
        return Ok(None);
    }
    let share = stays as f64 / from as f64;
    let chance = into as f64 / steps as f64;
    let mut said = format!("{:.1} % stay under it", 100.0 * share);
    if chance > 0.0 {
        said += &format!(", {:.1} times chance", share / chance);
    }
    Ok(Some(format!("{said}, over {}", counted(from as usize, "step"))))
}
