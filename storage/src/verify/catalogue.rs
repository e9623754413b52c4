//! The walk through items, users, histories and the small tables.

use super::Walk;
use crate::codec::key;
use crate::error::{Error, Result};
use crate::migrate;
use crate::record::{Field, Item, User, UserNo};
use crate::table::counters::{self, COUNTERS, Counter};
use crate::table::{Table, histories, items, rows, settings};
use crate::view::View;

impl Walk<'_> {
    /// Meta, counters, settings and fields.
    pub(super) fn small_tables(&mut self) -> Result<()> {
        self.each(Table::Meta, |_, _, value| migrate::read(value).map(|_| ()))?;
        self.each(Table::Counters, |walk, key, value| {
            counters::decode(Table::Counters, key, value)?;
            if !COUNTERS.iter().any(|counter| counter.key() == key) {
                walk.problem(Table::Counters, key, "no such counter");
            }
            Ok(())
        })?;
        self.each(Table::Settings, |_, key, value| settings::read(key, value).map(|_| ()))?;
        self.each_record::<Field>(Table::Fields, |walk, key, field| {
            if *key != (walk.fields.len() as u16).to_be_bytes() {
                walk.problem(Table::Fields, key, "the numbers of the fields have a gap");
            }
            walk.fields.push(field);
            Ok(())
        })
    }

    /// Items and their ids.
    pub(super) fn items(&mut self) -> Result<()> {
        let bound = self.counter(Counter::Item)?;
        self.each_record::<Item>(Table::Items, |walk, row_key, item| {
            let no = key::read_number(Table::Items, row_key)?;
            walk.items.push(no);
            if no >= bound {
                walk.problem(Table::Items, row_key, "its number was never given");
            }
            walk.check_fields(row_key, &item);
            if items::number(walk.read, &item.id)? != Some(no) {
                let what = format!("the id `{}` does not lead back to it", item.id);
                walk.problem(Table::Items, row_key, what);
            }
            Ok(())
        })?;
        self.each(Table::ItemIds, |walk, row_key, value| {
            let no = counters::decode(Table::ItemIds, row_key, value)?;
            let item = items::get(walk.read, no)?;
            if item.is_none_or(|item| item.id.as_bytes() != row_key) {
                walk.problem(Table::ItemIds, row_key, format!("item {no} does not bear it"));
            }
            Ok(())
        })
    }

    fn check_fields(&mut self, row_key: &[u8], item: &Item) {
        if !item.fields.is_sorted_by(|a, b| a.0 < b.0) {
            self.problem(Table::Items, row_key, "its fields are out of order");
        }
        for (number, value) in &item.fields {
            match self.fields.get(usize::from(*number)) {
                None => {
                    let what = format!("it has field {number}, which does not exist");
                    self.problem(Table::Items, row_key, what);
                }
                Some(field) if field.kind != value.kind() => {
                    let what = format!(
                        "field `{}` holds {}, expected {}",
                        field.name,
                        value.kind().name(),
                        field.kind.name()
                    );
                    self.problem(Table::Items, row_key, what);
                }
                Some(_) => {}
            }
        }
    }

    /// Users and their ids.
    pub(super) fn users(&mut self) -> Result<()> {
        let bound = self.counter(Counter::User)?;
        self.each_record::<User>(Table::Users, |walk, row_key, user| {
            let no = key::read_number(Table::Users, row_key)?;
            walk.users.push(no);
            if no >= bound {
                walk.problem(Table::Users, row_key, "its number was never given");
            }
            if crate::table::users::number(walk.read, &user.id)? != Some(no) {
                let what = format!("the id `{}` does not lead back to it", user.id);
                walk.problem(Table::Users, row_key, what);
            }
            Ok(())
        })?;
        self.each(Table::UserIds, |walk, row_key, value| {
            let no = counters::decode(Table::UserIds, row_key, value)?;
            let user: Option<User> = rows::get(walk.read, Table::Users, &key::number(no))?;
            if user.is_none_or(|user| user.id.as_bytes() != row_key) {
                walk.problem(Table::UserIds, row_key, format!("user {no} does not bear it"));
            }
            Ok(())
        })
    }

    /// Histories: users and items exist, blocks follow each other, time does not run back.
    pub(super) fn histories(&mut self) -> Result<()> {
        let mut before: Option<(UserNo, u32, i64)> = None;
        let mut total = 0;
        self.each(Table::Histories, |walk, row_key, value| {
            let (user, block) = key::read_parted(Table::Histories, row_key)?;
            let mut history = Vec::new();
            histories::decode(row_key, value, &mut history)?;
            total += history.len() as u64;
            if walk.users.binary_search(&user).is_err() {
                walk.problem(Table::Histories, row_key, format!("user {user} does not exist"));
            }
            if let Some(one) = history.iter().find(|one| !walk.has_item(one.item)) {
                let what = format!("item {} does not exist", one.item);
                walk.problem(Table::Histories, row_key, what);
            }
            let first = history.first().map_or(0, |one| one.time);
            let follows = match before {
                Some((same, last, time)) if same == user => block == last + 1 && time <= first,
                _ => block == 0,
            };
            if !follows {
                walk.problem(Table::Histories, row_key, "it does not follow the block before");
            }
            before = Some((user, block, history.last().map_or(0, |one| one.time)));
            Ok(())
        })?;
        let counted = self.counter(Counter::Interactions)?;
        if counted != total {
            let what = format!("{counted} interactions counted, {total} found");
            self.problem(Table::Counters, &Counter::Interactions.key(), what);
        }
        Ok(())
    }

    /// A counter; a damaged one was reported already and forbids nothing.
    pub(super) fn counter(&mut self, counter: Counter) -> Result<u64> {
        match self.read.counter(counter) {
            Err(Error::Corrupt { .. }) => Ok(u64::MAX),
            other => other,
        }
    }
}
