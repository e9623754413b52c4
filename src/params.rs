//! Parameters of a statement: `?` by position, `$name` by name.

use std::collections::BTreeMap;

use sidql_grammar::ast::Param;

use crate::error::{Error, Result};
use crate::value::Value;

/// The values for `?` and `$name` in one statement.
///
/// ```
/// use sidql::Params;
/// let by_position: Params = vec![30.into(), "Nike".into()].into();
/// let of_any_types: Params = (30, "Nike").into();
/// let by_name = Params::default().set("brand", "Nike");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Params {
    positional: Vec<Value>,
    named: BTreeMap<String, Value>,
}

impl Params {
    /// Appends the value of the next `?`.
    pub fn push(mut self, value: impl Into<Value>) -> Self {
        self.positional.push(value.into());
        self
    }

    /// Sets the value of `$name`.
    pub fn set(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.named.insert(name.into(), value.into());
        self
    }

    /// The value of a parameter.
    ///
    /// # Errors
    /// The parameter was not given.
    pub(crate) fn get(&self, param: &Param) -> Result<&Value> {
        let missing =
            |what: String, help: String| Error::input("missing-parameter", what).help(help);
        match param {
            Param::Positional(at) => self.positional.get(*at).ok_or_else(|| {
                let given = self.positional.len();
                missing(
                    format!("no value for parameter {} of the statement", at + 1),
                    format!("{given} values were given"),
                )
            }),
            Param::Named(name) => self.named.get(name).ok_or_else(|| {
                missing(format!("no value for parameter ${name}"), format!("give it as `{name}`"))
            }),
        }
    }
}

impl From<()> for Params {
    fn from((): ()) -> Self {
        Params::default()
    }
}

impl From<Vec<Value>> for Params {
    fn from(positional: Vec<Value>) -> Self {
        Params { positional, named: BTreeMap::new() }
    }
}

impl<const N: usize> From<[Value; N]> for Params {
    fn from(positional: [Value; N]) -> Self {
        Params::from(positional.to_vec())
    }
}

/// Values of any types for `?`, in order: `("Nike", 30)`.
macro_rules! tuples {
    ($(($($name:ident)+))*) => {$(
        impl<$($name: Into<Value>),+> From<($($name,)+)> for Params {
            #[allow(non_snake_case, reason = "each value has the name of its type")]
            fn from(($($name,)+): ($($name,)+)) -> Self {
                Params::from(vec![$($name.into()),+])
            }
        }
    )*};
}

tuples! {
    (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H)
}
