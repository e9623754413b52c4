//! `WITH (name = value, …)` and the values of `INSERT`, `UPDATE` and `SET`.

use super::{Literal, Name, Param};
use crate::span::Spanned;

/// One option.
#[derive(Clone, Debug, PartialEq)]
pub struct WithOption {
    /// Its name.
    pub name: Name,
    /// Its value.
    pub value: Spanned<OptionValue>,
}

/// A value that may be a list. A bare word is read as text: `WITH (layout = sequences)`.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    /// One value.
    Literal(Literal),
    /// `?` or `$name`
    Param(Param),
    /// `[…]`
    List(Vec<Spanned<OptionValue>>),
}
