//! Fields: the schema of the items' metadata, and the values it allows.

use rkyv::{Archive, Deserialize, Serialize};

/// The newest shape of a field.
pub type Field = FieldV1;
/// The newest set of field types.
pub type FieldType = FieldTypeV1;
/// The newest set of field values.
pub type FieldValue = FieldValueV1;

/// One metadata field of the items.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct FieldV1 {
    /// Its name as users type it.
    pub name: String,
    /// The type of its values.
    pub kind: FieldTypeV1,
}

/// The type of a metadata field.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldTypeV1 {
    /// Text.
    Text,
    /// A 64-bit integer.
    Int,
    /// A 64-bit float.
    Float,
    /// True or false.
    Bool,
    /// A list of text.
    List,
    /// Bytes, for example an image.
    Bytes,
}

impl FieldTypeV1 {
    /// The name as `DESCRIBE` shows it.
    pub fn name(self) -> &'static str {
        match self {
            FieldTypeV1::Text => "text",
            FieldTypeV1::Int => "int",
            FieldTypeV1::Float => "float",
            FieldTypeV1::Bool => "bool",
            FieldTypeV1::List => "list",
            FieldTypeV1::Bytes => "bytes",
        }
    }
}

/// One metadata value of an item. An absent value is not stored.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum FieldValueV1 {
    /// Text.
    Text(String),
    /// A 64-bit integer.
    Int(i64),
    /// A 64-bit float.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A list of text.
    List(Vec<String>),
    /// Bytes, for example an image.
    Bytes(Vec<u8>),
}

impl FieldValueV1 {
    /// The type that holds this value.
    pub fn kind(&self) -> FieldTypeV1 {
        match self {
            FieldValueV1::Text(_) => FieldTypeV1::Text,
            FieldValueV1::Int(_) => FieldTypeV1::Int,
            FieldValueV1::Float(_) => FieldTypeV1::Float,
            FieldValueV1::Bool(_) => FieldTypeV1::Bool,
            FieldValueV1::List(_) => FieldTypeV1::List,
            FieldValueV1::Bytes(_) => FieldTypeV1::Bytes,
        }
    }
}
