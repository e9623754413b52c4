//! The hot path: a policy opened once, asked many times, without parsing.

use std::sync::Arc;

use sidql_storage::{View, histories, items, policies, users};

use crate::cache::Ready;
use crate::decode::{self, Request, Source};
use crate::error::{Error, Result};
use crate::exec::Engine;
use crate::index::Allowed;
use crate::progress::Progress;

/// A policy ready to recommend. Each call sees the file as it is then; new items need no reopening.
#[derive(Clone)]
pub struct Recommender {
    engine: Arc<Engine>,
    policy: String,
}

impl Recommender {
    pub(crate) fn open(engine: Arc<Engine>, policy: &str) -> Result<Self> {
        let recommender = Recommender { engine, policy: policy.to_owned() };
        recommender.ready(&recommender.engine.store.read()?)?;
        Ok(recommender)
    }

    /// The best items after a user's history, without those in it, with their scores.
    ///
    /// # Errors
    /// The user is unknown.
    pub fn for_user(&self, user: &str, count: usize) -> Result<Vec<(String, f32)>> {
        let read = self.engine.store.read()?;
        let number = users::number(&read, user)?
            .ok_or_else(|| Error::input("unknown-user", format!("there is no user `{user}`")))?;
        let history: Vec<u64> = histories::of(&read, number)?.iter().map(|one| one.item).collect();
        self.top(&read, &history, count)
    }

    /// The best items after a history of item ids, oldest first, without those in it, with their scores.
    ///
    /// # Errors
    /// An item is unknown.
    pub fn after(&self, history: &[&str], count: usize) -> Result<Vec<(String, f32)>> {
        let read = self.engine.store.read()?;
        let number = |id: &&str| {
            items::number(&read, id)?
                .ok_or_else(|| Error::input("unknown-item", format!("there is no item `{id}`")))
        };
        let history: Vec<u64> = history.iter().map(number).collect::<Result<_>>()?;
        self.top(&read, &history, count)
    }

    fn ready(&self, view: &dyn View) -> Result<Arc<Ready>> {
        let Some(card) = policies::get(view, &self.policy)? else {
            let all = policies::all(view)?;
            let known = all.iter().map(|one| one.name.as_str());
            return Err(Error::unknown("policy", &self.policy, known));
        };
        self.engine.cache.policy(view, &card)
    }

    fn top(&self, view: &dyn View, history: &[u64], count: usize) -> Result<Vec<(String, f32)>> {
        let ready = self.ready(view)?;
        let catalogue = ready.ground.catalogue();
        let allowed = Allowed::all(catalogue.len());
        let source = Source {
            policy: &ready.policy,
            catalogue,
            trie: ready.ground.trie(),
            allowed: &allowed,
        };
        let history: Vec<u32> =
            history.iter().filter_map(|item| catalogue.position(*item)).collect();
        let request = Request { k: count, ..Request::default() };
        let hits = decode::top(&source, &[&history], &request, &Progress::silent())?.concat();
        hits.iter()
            .map(|hit| {
                let number = catalogue.items[hit.position as usize];
                let item = items::get(view, number)?
                    .ok_or_else(|| Error::internal(format!("item {number} vanished")))?;
                Ok((item.id, hit.score))
            })
            .collect()
    }
}
