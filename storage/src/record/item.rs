//! Items: a text key and typed metadata. Embeddings and SIDs lie in tables of their own.

use rkyv::{Archive, Deserialize, Serialize};

use super::FieldNo;
use super::field::FieldValueV1;

/// The newest shape of an item.
pub type Item = ItemV1;

/// One item of the catalogue.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct ItemV1 {
    /// The key that users type.
    pub id: String,
    /// The metadata by field number, in ascending order; absent values are left out.
    pub fields: Vec<(u16, FieldValueV1)>,
}

impl ItemV1 {
    /// The value of a field, unless absent.
    pub fn field(&self, number: FieldNo) -> Option<&FieldValueV1> {
        self.fields.iter().find(|(no, _)| *no == number).map(|(_, value)| value)
    }
}
