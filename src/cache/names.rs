//! The ids of the items of a generation, held in memory.

use sidql_storage::{View, items};

use super::IndexSet;
use crate::error::{Error, Result};

/// The ids of the items that have a SID, one after the other in the order of the SIDs.
pub(crate) struct Names {
    text: String,
    /// Where the id of each rank begins, and the end.
    starts: Vec<usize>,
}

impl Names {
    pub(super) fn read(view: &dyn View, index: &IndexSet) -> Result<Self> {
        let mut found = String::new();
        let mut spans = vec![0..0; index.trie.len()];
        let mut missing = spans.len();
        items::each_id(view, |id, number| {
            if let Some(position) = index.catalogue.position(number) {
                let start = found.len();
                found.push_str(id);
                missing -= 1;
                spans[index.trie.rank(position) as usize] = start..found.len();
            }
        })?;
        if missing > 0 {
            let message =
                format!("{missing} items of the tree have been deleted since it was taken");
            return Err(Error::input("stale-tree", message).help("take it again: db.tree(…)"));
        }
        let mut names = Names {
            text: String::with_capacity(found.len()),
            starts: Vec::with_capacity(spans.len() + 1),
        };
        for span in spans {
            names.starts.push(names.text.len());
            names.text.push_str(&found[span]);
        }
        names.starts.push(names.text.len());
        Ok(names)
    }

    /// The id of the item of a rank.
    pub(crate) fn get(&self, rank: u32) -> &str {
        &self.text[self.starts[rank as usize]..self.starts[rank as usize + 1]]
    }
}
