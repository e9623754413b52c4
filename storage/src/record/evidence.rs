//! Evidence: what a language model said of an item; and the stamp that every derived value bears.

use rkyv::{Archive, Deserialize, Serialize};

/// The newest shape of a stamp.
pub type Stamp = StampV1;
/// The newest shape of evidence.
pub type Evidence = EvidenceV1;
/// The newest shape of what evidence says.
pub type Body = BodyV1;
/// The newest shape of a descriptor.
pub type Descriptor = DescriptorV1;

/// By whom, from what and when a derived value was made.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StampV1 {
    /// Who made it: the number of an origin.
    pub origin: u32,
    /// A hash of what it was made from.
    pub source: u64,
    /// When it was made, in milliseconds of Unix time.
    pub made_ms: i64,
}

/// One piece of evidence about an item.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct EvidenceV1 {
    /// By whom, from what and when it was made.
    pub stamp: StampV1,
    /// What it says.
    pub body: BodyV1,
}

/// What evidence says.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum BodyV1 {
    /// What the item's photo shows.
    Caption(String),
    /// Why the item is wanted, the strongest first.
    Descriptors(Vec<DescriptorV1>),
    /// How good the descriptors are.
    Quality {
        /// A label for each descriptor, in their order.
        labels: Vec<bool>,
        /// The share of good ones, weighed by confidence.
        score: f32,
    },
}

/// One descriptor.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct DescriptorV1 {
    /// Its words.
    pub text: String,
    /// How sure the model was, 0 to 1; none where it was not said.
    pub confidence: Option<f32>,
}

/// A kind of evidence, of which an item has one piece at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EvidenceKind {
    /// A caption.
    Caption = 1,
    /// Descriptors.
    Intent,
    /// Labels of the descriptors.
    Quality,
}

impl EvidenceKind {
    /// Every kind.
    pub const ALL: &'static [EvidenceKind] =
        &[EvidenceKind::Caption, EvidenceKind::Intent, EvidenceKind::Quality];

    /// The name of the stage that makes it.
    pub fn name(self) -> &'static str {
        match self {
            EvidenceKind::Caption => "caption",
            EvidenceKind::Intent => "intent",
            EvidenceKind::Quality => "quality",
        }
    }

    /// The kind of a number in a key.
    pub(crate) fn numbered(number: u8) -> Option<EvidenceKind> {
        EvidenceKind::ALL.iter().copied().find(|kind| *kind as u8 == number)
    }
}

impl BodyV1 {
    /// Its kind.
    pub fn kind(&self) -> EvidenceKind {
        match self {
            BodyV1::Caption(_) => EvidenceKind::Caption,
            BodyV1::Descriptors(_) => EvidenceKind::Intent,
            BodyV1::Quality { .. } => EvidenceKind::Quality,
        }
    }

    /// What about it no stage would write; nothing where it is sound.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let within = |x: f32| (0.0..=1.0).contains(&x);
        match self {
            BodyV1::Caption(text) if text.is_empty() => Some("an empty caption"),
            BodyV1::Descriptors(list) if list.is_empty() => Some("no descriptor"),
            BodyV1::Descriptors(list) if list.iter().any(|one| one.text.is_empty()) => {
                Some("an empty descriptor")
            }
            BodyV1::Descriptors(list)
                if list.iter().filter_map(|one| one.confidence).any(|x| !within(x)) =>
            {
                Some("a confidence outside 0 to 1")
            }
            BodyV1::Quality { labels, .. } if labels.is_empty() => Some("no label"),
            BodyV1::Quality { score, .. } if !within(*score) => Some("a score outside 0 to 1"),
            _ => None,
        }
    }
}
