//! What names mean inside one statement, and which values each row must bring along.

use sidql_storage::{FieldNo, FieldType, GenerationNo, SpaceNo};

use super::bind::Catalog;
use super::expr::{Expr, Type, Typed};
use super::relation::Relation;
use crate::error::{Error, Result};
use crate::params::Params;

/// A value that the row must bring, so that nothing else is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The item's id.
    Id,
    /// A metadata field.
    Field(FieldNo),
    /// The item's SID in a generation.
    Sid(GenerationNo),
    /// The item's vector in a space.
    Embedding(SpaceNo),
    /// The score of NEAR or RECOMMEND.
    Score,
    /// A column of another relation.
    Column(usize),
}

/// Resolves names against one relation and collects the sources.
pub(crate) struct Scope<'a> {
    catalog: &'a Catalog<'a>,
    relation: Relation,
    scored: bool,
    sources: Vec<Source>,
    labels: Vec<String>,
}

impl<'a> Scope<'a> {
    /// A scope over a relation.
    pub(crate) fn new(catalog: &'a Catalog<'a>, relation: Relation) -> Self {
        Scope { catalog, relation, scored: false, sources: Vec::new(), labels: Vec::new() }
    }

    /// Lets `score` be a column.
    pub(crate) fn with_score(mut self) -> Self {
        self.scored = true;
        self
    }

    /// The parameters of the statement.
    pub(crate) fn params(&self) -> &'a Params {
        self.catalog.params
    }

    /// The relation.
    pub(crate) fn relation(&self) -> Relation {
        self.relation
    }

    /// Whether rows have SIDs of generations: those of `items`.
    pub(crate) fn has_sids(&self) -> bool {
        self.relation == Relation::Items
    }

    /// The sources collected so far, and what they are called; a row has a value for each.
    pub(crate) fn into_sources(self) -> (Vec<Source>, Vec<String>) {
        (self.sources, self.labels)
    }

    /// The expression that reads a source, which is collected once.
    pub(crate) fn source(&mut self, source: Source) -> Expr {
        let at = self.sources.iter().position(|known| *known == source).unwrap_or_else(|| {
            self.sources.push(source);
            self.labels.push(self.label(source));
            self.sources.len() - 1
        });
        Expr::Source(at)
    }

    fn label(&self, source: Source) -> String {
        let fields = self.catalog.fields();
        match source {
            Source::Id => "id",
            Source::Field(number) => fields.get(number as usize).map_or("?", |field| &field.name),
            Source::Sid(_) => "sid",
            Source::Embedding(_) => "embedding",
            Source::Score => "score",
            Source::Column(at) => self.relation.columns()[at].0,
        }
        .to_owned()
    }

    /// A column by name.
    pub(crate) fn column(&mut self, name: &str) -> Result<Typed> {
        let lower = name.to_lowercase();
        if self.scored && lower == "score" {
            return Ok((self.source(Source::Score), Type::Number));
        }
        if self.relation != Relation::Items {
            let columns = self.relation.columns();
            let at = columns.iter().position(|(known, _)| *known == lower).ok_or_else(|| {
                let known: Vec<&str> = columns.iter().map(|(known, _)| *known).collect();
                Error::unknown("column", name, known)
            })?;
            return Ok((self.source(Source::Column(at)), columns[at].1));
        }
        if let Some((number, field)) = self.catalog.field(name) {
            let kind = field_type(field.kind);
            return Ok((self.source(Source::Field(number)), kind));
        }
        match lower.as_str() {
            "id" => Ok((self.source(Source::Id), Type::Text)),
            "sid" => Ok((self.sid(None, None)?, Type::Sid)),
            "prefix" => Err(Error::input("wrong-arguments", "how many levels of the prefix?")
                .help("prefix(2) gives two; WHERE prefix = a1.b33 asks for what lies under it")),
            _ => {
                let own = ["id", "sid"].into_iter();
                let fields = self.catalog.fields().iter().map(|field| field.name.as_str());
                let known: Vec<&str> = own.chain(fields).collect();
                Err(Error::unknown("field", name, known))
            }
        }
    }

    /// The SID in a codebook's published generation, or in the one named by its ordinal.
    pub(crate) fn sid(&mut self, codebook: Option<&str>, ordinal: Option<u32>) -> Result<Expr> {
        let generation = self.catalog.generation(codebook, ordinal)?;
        Ok(self.source(Source::Sid(generation.number)))
    }

    /// The vector in a space.
    pub(crate) fn embedding(&mut self, space: &str) -> Result<Expr> {
        let space = self.catalog.space(space)?;
        Ok(self.source(Source::Embedding(space.number)))
    }

    /// What `*` stands for, in order.
    pub(crate) fn star(&mut self) -> Result<Vec<(String, Expr)>> {
        if self.relation != Relation::Items {
            let columns = self.relation.columns().iter().enumerate();
            return Ok(columns
                .map(|(at, (name, _))| ((*name).to_owned(), self.source(Source::Column(at))))
                .collect());
        }
        let mut columns = vec![("id".to_owned(), self.source(Source::Id))];
        if self.catalog.has_published() {
            let sid = self.sid(None, None)?;
            columns.push(("sid".to_owned(), sid));
        }
        if self.scored {
            columns.push(("score".to_owned(), self.source(Source::Score)));
        }
        for (number, field) in self.catalog.fields().iter().enumerate() {
            let source = self.source(Source::Field(number as FieldNo));
            columns.push((field.name.clone(), source));
        }
        Ok(columns)
    }
}

fn field_type(kind: FieldType) -> Type {
    match kind {
        FieldType::Text => Type::Text,
        FieldType::Int | FieldType::Float => Type::Number,
        FieldType::Bool => Type::Bool,
        FieldType::List => Type::List,
        FieldType::Bytes => Type::Bytes,
    }
}
