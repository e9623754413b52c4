//! What names mean inside one statement, and which values each row must bring along.

use sidql_storage::{EvidenceKind, FieldNo, FieldType, GenerationNo, SpaceNo};

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
    /// How far the item's vector lies from what its SID in a generation stands for.
    Residual(GenerationNo),
    /// Something of the item's evidence; of a metadata field of the same name where there is none.
    Evidence(Piece, Option<FieldNo>),
    /// Who made a derived value, from what and when.
    Provenance(Derived),
    /// Whether a derived value is missing or out of date.
    Stale(Derived),
    /// The score of NEAR or RECOMMEND.
    Score,
    /// A column of another relation.
    Column(usize),
}

/// A value that a stage made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Derived {
    /// An answer of a language model.
    Evidence(EvidenceKind),
    /// A vector.
    Vector(SpaceNo),
}

/// A piece of an item's evidence, a column of `items`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Caption,
    Descriptors,
    Confidences,
    Labels,
    Quality,
}

impl Piece {
    /// Every piece, in the order of `SELECT *`.
    pub(crate) const ALL: &'static [Piece] =
        &[Piece::Caption, Piece::Descriptors, Piece::Confidences, Piece::Labels, Piece::Quality];

    /// The name of the column.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Piece::Caption => "caption",
            Piece::Descriptors => "descriptors",
            Piece::Confidences => "confidences",
            Piece::Labels => "labels",
            Piece::Quality => "quality",
        }
    }

    /// The evidence that it is a piece of.
    pub(crate) fn kind(self) -> EvidenceKind {
        match self {
            Piece::Caption => EvidenceKind::Caption,
            Piece::Descriptors | Piece::Confidences => EvidenceKind::Intent,
            Piece::Labels | Piece::Quality => EvidenceKind::Quality,
        }
    }

    fn gives(self) -> Type {
        match self {
            Piece::Caption => Type::Text,
            Piece::Descriptors | Piece::Confidences | Piece::Labels => Type::List,
            Piece::Quality => Type::Number,
        }
    }
}

/// Resolves names against one relation and collects the sources.
pub(crate) struct Scope<'a> {
    catalog: &'a Catalog<'a>,
    relation: Relation,
    scored: bool,
    stale: Option<Derived>,
    sources: Vec<Source>,
    labels: Vec<String>,
}

impl<'a> Scope<'a> {
    /// A scope over a relation.
    pub(crate) fn new(catalog: &'a Catalog<'a>, relation: Relation) -> Self {
        Scope {
            catalog,
            relation,
            scored: false,
            stale: None,
            sources: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// Lets `score` be a column.
    pub(crate) fn with_score(mut self) -> Self {
        self.scored = true;
        self
    }

    /// Lets `stale` be a column: whether this value of an item is missing or out of date.
    pub(crate) fn with_stale(mut self, derived: Derived) -> Self {
        self.stale = Some(derived);
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
            Source::Residual(_) => "residual",
            Source::Evidence(piece, _) => piece.name(),
            Source::Provenance(_) => "provenance",
            Source::Stale(_) => "stale",
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
        if let (Some(derived), "stale") = (self.stale, lower.as_str()) {
            return Ok((self.source(Source::Stale(derived)), Type::Bool));
        }
        if let Some(piece) = self.piece(&lower)? {
            let field = self.catalog.field(name).map(|(number, _)| number);
            return Ok((self.source(Source::Evidence(piece, field)), piece.gives()));
        }
        if let Some((number, field)) = self.catalog.field(name) {
            let kind = field_type(field.kind);
            return Ok((self.source(Source::Field(number)), kind));
        }
        match lower.as_str() {
            "id" => Ok((self.source(Source::Id), Type::Text)),
            "sid" => Ok((self.sid(None, None)?, Type::Sid)),
            "stale" => Err(Error::input("wrong-arguments", "which value is stale?").help(
                "stale(text) asks of one; bare `stale` stands in ENRICH … BY stage WHERE stale",
            )),
            "prefix" => Err(Error::input("wrong-arguments", "how many levels of the prefix?")
                .help("prefix(2) gives two; WHERE prefix = a1.b33 asks for what lies under it")),
            _ => {
                let pieces = Piece::ALL.iter().map(|piece| piece.name());
                let own = ["id", "sid"].into_iter().chain(pieces);
                let fields = self.catalog.fields().iter().map(|field| field.name.as_str());
                let known: Vec<&str> = own.chain(fields).collect();
                Err(Error::unknown("field", name, known))
            }
        }
    }

    /// Whether a bare word can only be a level of a SID, such as `a1`: there is no column of that name.
    pub(crate) fn is_level(&self, word: &str) -> bool {
        let columns = self.relation.columns();
        sidql_grammar::pattern::parse_sid(word).is_some()
            && !columns.iter().any(|(known, _)| known.eq_ignore_ascii_case(word))
            && (self.relation != Relation::Items || self.catalog.field(word).is_none())
    }

    /// The SID in a codebook's published generation, or in the one named by its ordinal.
    pub(crate) fn sid(&mut self, codebook: Option<&str>, ordinal: Option<u32>) -> Result<Expr> {
        let generation = self.catalog.generation(codebook, ordinal)?;
        Ok(self.source(Source::Sid(generation.number)))
    }

    /// How far items lie from what a SID stands for, where the expression is the SID of a generation.
    pub(crate) fn residual(&mut self, sid: &Expr) -> Option<Expr> {
        let Expr::Source(at) = sid else { return None };
        let Some(Source::Sid(generation)) = self.sources.get(*at) else { return None };
        let source = Source::Residual(*generation);
        Some(self.source(source))
    }

    /// A piece of evidence by name. A metadata field of the same name and another type, or of a kind of which there
    /// is no evidence at all, stands for itself.
    fn piece(&self, lower: &str) -> Result<Option<Piece>> {
        let Some(piece) = Piece::ALL.iter().copied().find(|piece| piece.name() == lower) else {
            return Ok(None);
        };
        let Some((_, field)) = self.catalog.field(lower) else { return Ok(Some(piece)) };
        let same = field_type(field.kind) == piece.gives();
        Ok((same && self.catalog.has_evidence(piece.kind())?).then_some(piece))
    }

    /// The metadata field of a name, also where a stage fills a column of that name.
    pub(crate) fn field(&mut self, name: &str) -> Result<Typed> {
        let Some((number, field)) = self.catalog.field(name) else {
            let known = self.catalog.fields().iter().map(|field| field.name.as_str());
            return Err(Error::unknown("field", name, known));
        };
        let kind = field_type(field.kind);
        Ok((self.source(Source::Field(number)), kind))
    }

    /// A derived value by the name of its column, its stage or its space.
    pub(crate) fn derived(&self, name: &str) -> Result<Derived> {
        let lower = name.to_lowercase();
        let piece = Piece::ALL.iter().find(|piece| piece.name() == lower);
        let stage = EvidenceKind::ALL.iter().copied().find(|kind| kind.name() == lower);
        if let Some(kind) = piece.map(|piece| piece.kind()).or(stage) {
            return Ok(Derived::Evidence(kind));
        }
        Ok(Derived::Vector(self.catalog.space(name)?.number))
    }

    /// Who made a derived value, from what and when.
    pub(crate) fn provenance(&mut self, name: &str) -> Result<Expr> {
        let derived = self.derived(name)?;
        Ok(self.source(Source::Provenance(derived)))
    }

    /// Whether a derived value is missing or out of date.
    pub(crate) fn stale_value(&mut self, name: &str) -> Result<Expr> {
        let derived = self.derived(name)?;
        Ok(self.source(Source::Stale(derived)))
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
        let mut shown = Vec::new();
        for piece in [Piece::Caption, Piece::Descriptors, Piece::Quality] {
            if self.piece(piece.name())?.is_some() && self.catalog.has_evidence(piece.kind())? {
                let field = self.catalog.field(piece.name()).map(|(number, _)| number);
                shown.extend(field);
                columns
                    .push((piece.name().to_owned(), self.source(Source::Evidence(piece, field))));
            }
        }
        for (number, field) in self.catalog.fields().iter().enumerate() {
            if shown.contains(&(number as FieldNo)) {
                continue;
            }
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
