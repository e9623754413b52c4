//! The records: what one row of each table means.
//!
//! A struct named `…V1` is the shape that files of schema version 1 hold and never changes again. The
//! plain name is an alias of the newest shape; a new shape is a new struct beside the old one.

mod codebook;
mod evaluation;
mod evidence;
mod failure;
mod field;
mod index;
mod interaction;
mod item;
mod job;
mod model;
mod origin;
mod policy;
mod sid;
mod space;

pub use codebook::{
    Codebook, CodebookV1, Generation, GenerationState, GenerationStateV1, GenerationV1,
};
pub use evaluation::{EvaluationRecord, EvaluationRecordV1};
pub use evidence::{
    Body, BodyV1, Descriptor, DescriptorV1, Evidence, EvidenceKind, EvidenceV1, Stamp, StampV1,
};
pub use failure::{Failure, FailureV1};
pub use field::{Field, FieldType, FieldTypeV1, FieldV1, FieldValue, FieldValueV1};
pub use index::{Index, IndexV1};
pub use interaction::{Interaction, User, UserV1};
pub use item::{Item, ItemV1};
pub use job::{JobRecord, JobRecordV1, JobState, JobStateV1};
pub use model::{Model, ModelV1};
pub use origin::{Origin, OriginV1};
pub use policy::{PolicyCard, PolicyCardV1, PolicyState, PolicyStateV1};
pub use sid::{MAX_LEVELS, Sid, level_name};
pub use space::{Space, SpaceV1};

/// The dense number of an item.
pub type ItemNo = u64;
/// The dense number of a user.
pub type UserNo = u64;
/// The number of a codebook generation, unique in the file and never used again.
pub type GenerationNo = u32;
/// The number of a job.
pub type JobNo = u64;
/// The number of an evaluation.
pub type EvaluationNo = u64;
/// The number of a blob, never used again.
pub type BlobNo = u64;
/// The number of an embedding space.
pub type SpaceNo = u16;
/// The number of an origin, never used again.
pub type OriginNo = u32;
/// The number of a metadata field of the items.
pub type FieldNo = u16;
