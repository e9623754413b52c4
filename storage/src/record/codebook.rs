//! Codebooks and their generations.

use rkyv::{Archive, Deserialize, Serialize};

/// The newest shape of a codebook.
pub type Codebook = CodebookV1;
/// The newest shape of a generation.
pub type Generation = GenerationV1;
/// The newest set of generation states.
pub type GenerationState = GenerationStateV1;

/// A named recipe for SIDs, with the generation that is in use.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct CodebookV1 {
    /// Its name as users type it.
    pub name: String,
    /// The kind of quantizer.
    pub kind: String,
    /// Its options as JSON.
    pub config: String,
    /// The name of the embedding space it reads.
    pub space: String,
    /// The generation that queries use; kept by the store.
    pub published: Option<u32>,
    /// The ordinal that the next generation gets; kept by the store, starts at 1.
    pub next_ordinal: u32,
    /// When it was created, in milliseconds of Unix time.
    pub created_ms: i64,
}

/// One immutable making of a codebook, with the SIDs of the items.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct GenerationV1 {
    /// Its number, unique in the file; set by the store.
    pub number: u32,
    /// The name of its codebook.
    pub codebook: String,
    /// 1, 2, 3 … as users type it; set by the store.
    pub ordinal: u32,
    /// The kind of quantizer.
    pub kind: String,
    /// The options it was made with, as JSON.
    pub config: String,
    /// The number of levels of a SID.
    pub levels: u8,
    /// The number of codes at each level.
    pub sizes: Vec<u32>,
    /// The codewords and projections.
    pub artefact: Option<u64>,
    /// Health figures as JSON.
    pub health: String,
    /// A hash of the embeddings it was made from.
    pub source_hash: u64,
    /// When it was made, in milliseconds of Unix time.
    pub created_ms: i64,
    /// The number of items that have a SID; kept by the store.
    pub items: u64,
    /// Changes whenever its SIDs change and never takes the same value for different SIDs; kept by
    /// the store.
    pub revision: u64,
    /// Where it stands; kept by the store.
    pub state: GenerationStateV1,
}

/// Where a generation stands.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GenerationStateV1 {
    /// Being made; left so by a crash, it is to be dropped or made again.
    #[default]
    Building,
    /// Complete.
    Ready,
}

impl GenerationStateV1 {
    /// The name as `SHOW` prints it.
    pub fn name(self) -> &'static str {
        match self {
            GenerationStateV1::Building => "building",
            GenerationStateV1::Ready => "ready",
        }
    }
}
