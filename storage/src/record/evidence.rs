//! Evidence: what models said of an item, each with the stamp of its making.

use rkyv::{Archive, Deserialize, Serialize};

use super::OriginNo;

/// The newest shape of a stamp.
pub type Stamp = StampV1;
/// The newest shape of a piece of evidence.
pub type Evidence = EvidenceV1;
/// The newest shape of what evidence says.
pub type Body = BodyV1;
/// The newest shape of a descriptor.
pub type Descriptor = DescriptorV1;

/// When a derived value was made, from what and by whom.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StampV1 {
    /// What made it.
    pub origin: OriginNo,
    /// A hash of what it was made from.
    pub source: u64,
    /// When it was made, in milliseconds of Unix time.
    pub made_ms: i64,
}

/// One thing that a model said of an item.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct EvidenceV1 {
    /// When, from what and by whom it was said.
    pub stamp: StampV1,
    /// What was said.
    pub body: BodyV1,
}

/// What evidence says. The variant is the kind of evidence.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum BodyV1 {
    /// What the pictures show, in words.
    Caption(String),
    /// What a buyer looks for.
    Descriptors(Vec<DescriptorV1>),
    /// How well the item is described.
    Quality {
        /// The answers to the questions that were asked, in their order.
        labels: Vec<bool>,
        /// The figure they make up, 0 to 1.
        score: f32,
    },
}

/// One short phrase about an item.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct DescriptorV1 {
    /// The phrase.
    pub text: String,
    /// How sure the model is of it, 0 to 1, unless it did not say.
    pub confidence: Option<f32>,
}

/// The kinds of evidence. An item has at most one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EvidenceKind {
    /// A caption.
    Caption = 1,
    /// A list of descriptors.
    Intent = 2,
    /// A quality label.
    Quality = 3,
}

impl EvidenceKind {
    /// Every kind, in the order of the table.
    pub const ALL: [EvidenceKind; 3] =
        [EvidenceKind::Caption, EvidenceKind::Intent, EvidenceKind::Quality];

    /// The name as users type it.
    pub fn name(self) -> &'static str {
        match self {
            EvidenceKind::Caption => "caption",
            EvidenceKind::Intent => "intent",
            EvidenceKind::Quality => "quality",
        }
    }
}

impl BodyV1 {
    /// The kind of evidence that this is.
    pub fn kind(&self) -> EvidenceKind {
        match self {
            BodyV1::Caption(_) => EvidenceKind::Caption,
            BodyV1::Descriptors(_) => EvidenceKind::Intent,
            BodyV1::Quality { .. } => EvidenceKind::Quality,
        }
    }

    /// What forbids to keep it, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let beyond = |figure: &f32| !(0.0..=1.0).contains(figure);
        match self {
            BodyV1::Caption(text) if text.is_empty() => Some("the caption is empty"),
            BodyV1::Descriptors(list) if list.is_empty() => {
                Some("the list of descriptors is empty")
            }
            BodyV1::Descriptors(list) if list.iter().any(|one| one.text.is_empty()) => {
                Some("a descriptor is empty")
            }
            BodyV1::Descriptors(list)
                if list.iter().any(|one| one.confidence.as_ref().is_some_and(beyond)) =>
            {
                Some("a confidence is not within 0 and 1")
            }
            BodyV1::Quality { score, .. } if beyond(score) => {
                Some("the quality score is not within 0 and 1")
            }
            _ => None,
        }
    }
}
