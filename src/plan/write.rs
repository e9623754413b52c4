//! INSERT, UPDATE and DELETE: fields resolved and values coerced to their types.

use sidql_grammar::ast::{self, Name, OptionValue};
use sidql_grammar::span::Spanned;
use sidql_storage::{Field, FieldNo, FieldValue};

use serde::{Deserialize, Serialize};

use super::bind::Catalog;
use super::operand;
use super::relation::Relation;
use super::select::{self, Select};
use crate::error::{Error, Result};
use crate::options;
use crate::params::Params;
use crate::schema;
use crate::value::{Rows, Value};

/// Options of INSERT.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Take a name near a known field for a new field, not for a slip.
    new_fields: bool,
}

/// A resolved INSERT.
#[derive(Debug)]
pub(crate) enum Insert {
    /// Items, with the fields that they bring along.
    Items {
        /// Fields to add to the schema first; their numbers follow the known ones.
        new_fields: Vec<Field>,
        /// The items.
        rows: Vec<NewItem>,
    },
    /// Interactions.
    Interactions(Vec<NewInteraction>),
}

/// An item to insert.
#[derive(Debug)]
pub(crate) struct NewItem {
    /// Its id.
    pub(crate) id: String,
    /// Its metadata.
    pub(crate) fields: Vec<(FieldNo, FieldValue)>,
}

/// An interaction to insert.
#[derive(Debug)]
pub(crate) struct NewInteraction {
    /// The user's id; a new one is made.
    pub(crate) user: String,
    /// The item's id.
    pub(crate) item: String,
    /// The time; after the user's last one when not given.
    pub(crate) time: Option<i64>,
    /// The kind.
    pub(crate) kind: Option<String>,
    /// The weight.
    pub(crate) weight: f32,
}

/// A resolved UPDATE.
#[derive(Debug)]
pub(crate) struct Update {
    /// The items.
    pub(crate) select: Select,
    /// The new values; `None` removes the field.
    pub(crate) set: Vec<(FieldNo, Option<FieldValue>)>,
}

/// A resolved DELETE.
#[derive(Debug)]
pub(crate) struct Delete {
    /// The rows; of items or interactions.
    pub(crate) select: Select,
}

/// Resolves an INSERT.
pub(crate) fn plan_insert(catalog: &Catalog<'_>, insert: &ast::Insert) -> Result<Insert> {
    let relation = writable(&insert.into)?;
    let options: Options = options::config(&operand::options(catalog, &insert.with)?)?;
    if relation == Relation::Interactions {
        let rows = insert.rows.iter().map(|row| interaction(catalog, row, &insert.into));
        return Ok(Insert::Interactions(rows.collect::<Result<_>>()?));
    }
    let mut schema = Schema { catalog, new: Vec::new(), strict: !options.new_fields };
    let mut rows = Vec::with_capacity(insert.rows.len());
    for row in &insert.rows {
        rows.push(schema.item(row, &insert.into)?);
    }
    Ok(Insert::Items { new_fields: schema.new, rows })
}

/// The INSERT of rows that are there as values: its text, which names the columns, its tree and its parameters.
pub(crate) fn statement_of(relation: &str, rows: Rows) -> (String, ast::Statement, Params) {
    let place = |text: &mut String, name: &str| {
        let start = text.len();
        text.push_str(name);
        Spanned::new(name.to_owned(), start..text.len())
    };
    let mut text = "INSERT INTO ".to_owned();
    let into = place(&mut text, relation);
    let mut names: Vec<Name> = Vec::with_capacity(rows.columns.len());
    text.push_str(" {");
    for name in &rows.columns {
        text.push_str(if names.is_empty() { "" } else { ", " });
        names.push(place(&mut text, name));
    }
    text.push('}');
    let mut params = Vec::with_capacity(rows.len() * names.len());
    let mut given = Vec::with_capacity(rows.len());
    for row in rows {
        let mut values = Vec::with_capacity(names.len());
        for (name, value) in names.iter().zip(row).filter(|(_, value)| !value.is_null()) {
            let param = OptionValue::Param(ast::Param::Positional(params.len()));
            values.push((name.clone(), Spanned::new(param, name.span.clone())));
            params.push(value);
        }
        given.push(values);
    }
    let insert = ast::Insert { into, rows: given, with: Vec::new() };
    (text, ast::Statement::Insert(insert), params.into())
}

/// Only items and interactions are written by statements; the rest follows from other commands.
fn writable(name: &Name) -> Result<Relation> {
    let relation = Relation::find(&name.node).map_err(|error| error.at(name.span.clone()))?;
    match relation {
        Relation::Items | Relation::Interactions => Ok(relation),
        other => {
            let message = format!("{} cannot be written directly", other.name());
            Err(Error::input("not-writable", message)
                .help("items and interactions can")
                .at(name.span.clone()))
        }
    }
}

/// The fields known and those that the statement brings along.
struct Schema<'a> {
    catalog: &'a Catalog<'a>,
    new: Vec<Field>,
    strict: bool,
}

impl Schema<'_> {
    fn item(&mut self, row: &[(Name, Spanned<OptionValue>)], into: &Name) -> Result<NewItem> {
        let mut id = None;
        let mut fields: Vec<(FieldNo, FieldValue)> = Vec::new();
        for (name, given) in row {
            let at = |error: Error| error.at(given.span.clone());
            let value = operand::field(self.catalog, given)?;
            if name.node.eq_ignore_ascii_case("id") {
                id = Some(item_id(&value).map_err(at)?);
                continue;
            }
            let Some((number, field)) = self.field(name, &value)? else { continue };
            if fields.iter().any(|(known, _)| *known == number) {
                let message = format!("field `{}` is given twice", name.node);
                return Err(Error::input("duplicate-field", message).at(name.span.clone()));
            }
            let value = schema::coerce(&value, field.kind)
                .map_err(|error| at(error.context(format!("field `{}`", field.name))))?;
            fields.extend(value.map(|value| (number, value)));
        }
        let id = id.ok_or_else(|| {
            Error::input("missing-id", "an item needs an id")
                .help("INSERT INTO items {id: 'B77', title: '…'}")
                .at(into.span.clone())
        })?;
        fields.sort_by_key(|(number, _)| *number);
        Ok(NewItem { id, fields })
    }

    /// The field of a name, made if it is new; nothing for a null of an unknown field.
    fn field(&mut self, name: &Name, value: &Value) -> Result<Option<(FieldNo, Field)>> {
        let known = self.catalog.fields();
        if let Some((number, field)) = self.catalog.field(&name.node) {
            return Ok(Some((number, field.clone())));
        }
        if let Some(at) = self.new.iter().position(|field| field.name == name.node) {
            return Ok(Some(((known.len() + at) as FieldNo, self.new[at].clone())));
        }
        let names = known.iter().map(|field| field.name.as_str()).chain(["id"]);
        if self.strict
            && let Some(near) = sidql_grammar::suggest::nearest(&name.node, names)
        {
            return Err(Error::input("unknown-name", format!("unknown field `{}`", name.node))
                .help(format!(
                    "did you mean `{near}`? WITH (new_fields = true) adds `{}`",
                    name.node
                ))
                .at(name.span.clone()));
        }
        let kind = schema::type_of(value).map_err(|error| error.at(name.span.clone()))?;
        let Some(kind) = kind else { return Ok(None) };
        let field = Field { name: name.node.clone(), kind };
        self.new.push(field.clone());
        Ok(Some(((known.len() + self.new.len() - 1) as FieldNo, field)))
    }
}

/// The id of an item or user: a text that is not empty, or a number written as text.
pub(crate) fn item_id(value: &Value) -> Result<String> {
    match value {
        Value::Text(text) if !text.is_empty() => Ok(text.clone()),
        Value::Int(int) => Ok(int.to_string()),
        other => {
            let message = format!("an id is a text that is not empty, not `{other}`");
            Err(Error::input("bad-id", message))
        }
    }
}

fn interaction(
    catalog: &Catalog<'_>,
    row: &[(Name, Spanned<OptionValue>)],
    into: &Name,
) -> Result<NewInteraction> {
    let (mut user, mut item, mut time, mut kind, mut weight) = (None, None, None, None, 1.0);
    for (name, given) in row {
        let at = |error: Error| error.at(given.span.clone());
        let value = operand::field(catalog, given)?;
        let wrong = |want: &str| {
            at(Error::input("type-mismatch", format!("`{}` is {want}, found `{value}`", name.node)))
        };
        match name.node.to_lowercase().as_str() {
            "user" => user = Some(item_id(&value).map_err(at)?),
            "item" => item = Some(item_id(&value).map_err(at)?),
            "time" => time = Some(value.as_i64().ok_or_else(|| wrong("an int"))?),
            "kind" if value.is_null() => {}
            "kind" => kind = Some(value.as_str().ok_or_else(|| wrong("a text"))?.to_owned()),
            "weight" => weight = value.as_f64().ok_or_else(|| wrong("a number"))? as f32,
            _ => {
                let known: Vec<&str> =
                    Relation::Interactions.columns().iter().map(|(name, _)| *name).collect();
                return Err(Error::unknown("field", &name.node, known).at(name.span.clone()));
            }
        }
    }
    let missing = |what: &str| {
        Error::input("missing-field", format!("an interaction needs a {what}"))
            .help("INSERT INTO interactions {user: 'u1', item: 'B77'}")
            .at(into.span.clone())
    };
    Ok(NewInteraction {
        user: user.ok_or_else(|| missing("user"))?,
        item: item.ok_or_else(|| missing("item"))?,
        time,
        kind,
        weight,
    })
}

/// Resolves an UPDATE.
pub(crate) fn plan_update(catalog: &Catalog<'_>, update: &ast::Update) -> Result<Update> {
    let relation = writable(&update.relation)?;
    if relation != Relation::Items {
        return Err(Error::input(
            "not-writable",
            "interactions are inserted and deleted, not updated",
        )
        .at(update.relation.span.clone()));
    }
    let mut set: Vec<(FieldNo, Option<FieldValue>)> = Vec::new();
    for (name, given) in &update.set {
        if name.node.eq_ignore_ascii_case("id") {
            return Err(Error::input("fixed-id", "the id of an item does not change")
                .help("insert it anew and delete the old one")
                .at(name.span.clone()));
        }
        let Some((number, field)) = catalog.field(&name.node) else {
            let known = catalog.fields().iter().map(|field| field.name.as_str());
            return Err(Error::unknown("field", &name.node, known).at(name.span.clone()));
        };
        let value = operand::field(catalog, given)?;
        let value = schema::coerce(&value, field.kind).map_err(|error| {
            error.context(format!("field `{}`", field.name)).at(given.span.clone())
        })?;
        set.push((number, value));
    }
    Ok(Update { select: select::plan_filter(catalog, update.filter.as_ref())?, set })
}

/// Resolves a DELETE.
pub(crate) fn plan_delete(catalog: &Catalog<'_>, delete: &ast::Delete) -> Result<Delete> {
    writable(&delete.from)?;
    let select = ast::Select {
        columns: Vec::new(),
        from: delete.from.clone(),
        of: None,
        near: None,
        filter: delete.filter.clone(),
        group_by: Vec::new(),
        order_by: Vec::new(),
        limit: None,
        offset: None,
        with: Vec::new(),
    };
    Ok(Delete { select: select::plan(catalog, &select)? })
}
