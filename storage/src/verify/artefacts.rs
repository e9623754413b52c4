//! The walk through policies, jobs, evaluations and blobs.

use super::Walk;
use crate::codec::{frame, key};
use crate::error::Result;
use crate::record::{BlobNo, EvaluationRecord, JobRecord, PolicyCard};
use crate::table::{Table, blobs};

/// A blob whose chunks are being gone through.
struct Open {
    blob: BlobNo,
    next: u32,
    length: u64,
    hasher: crc32fast::Hasher,
}

impl Walk<'_> {
    /// Blobs and their chunks: each is complete and bears its checksum.
    pub(super) fn blobs(&mut self) -> Result<()> {
        self.each(Table::Blobs, |walk, row_key, value| {
            let info = blobs::decode(row_key, value)?;
            walk.blobs.insert(info.number, (info, false));
            Ok(())
        })?;
        let mut whole = std::collections::BTreeSet::new();
        let mut open: Option<Open> = None;
        self.each(Table::Chunks, |walk, row_key, value| {
            let (blob, chunk) = key::read_parted(Table::Chunks, row_key)?;
            let bytes = frame::open(Table::Chunks, row_key, value)?;
            let Some((info, _)) = walk.blobs.get(&blob).copied() else {
                walk.problem(Table::Chunks, row_key, format!("blob {blob} does not exist"));
                return Ok(());
            };
            let current = match &mut open {
                Some(current) if current.blob == blob => current,
                _ => {
                    open.insert(Open { blob, next: 0, length: 0, hasher: crc32fast::Hasher::new() })
                }
            };
            if chunk != current.next {
                walk.problem(Table::Chunks, row_key, "a chunk before it is missing");
            }
            current.next = chunk.saturating_add(1);
            current.length += bytes.len() as u64;
            current.hasher.update(bytes);
            if current.length == info.length
                && current.next == info.chunks
                && current.hasher.clone().finalize() == info.checksum
            {
                whole.insert(blob);
            }
            Ok(())
        })?;
        for (number, (info, _)) in self.blobs.clone() {
            if info.chunks > 0 && !whole.contains(&number) {
                self.problem(Table::Blobs, &key::number(number), "its chunks do not make it up");
            }
        }
        Ok(())
    }

    /// Policies.
    pub(super) fn policies(&mut self) -> Result<()> {
        self.each_record::<PolicyCard>(Table::Policies, |walk, row_key, card| {
            if card.name.as_bytes() != row_key {
                walk.problem(Table::Policies, row_key, format!("it is called `{}`", card.name));
            }
            walk.names_blob(Table::Policies, row_key, card.weights);
            // A generation may be dropped while the policy stays, but not belong to another codebook.
            let strange = card
                .generation
                .and_then(|number| walk.generations.get(&number))
                .is_some_and(|made| card.codebook.as_ref().is_some_and(|of| *of != made.codebook));
            if strange {
                walk.problem(Table::Policies, row_key, "its generation is of another codebook");
            }
            Ok(())
        })
    }

    /// Jobs.
    pub(super) fn jobs(&mut self) -> Result<()> {
        self.each_record::<JobRecord>(Table::Jobs, |walk, row_key, job| {
            if key::number(job.number) != row_key {
                walk.problem(Table::Jobs, row_key, format!("its number is {}", job.number));
            }
            walk.names_blob(Table::Jobs, row_key, job.checkpoint);
            walk.jobs.insert(job.number);
            Ok(())
        })
    }

    /// Evaluations.
    pub(super) fn evaluations(&mut self) -> Result<()> {
        self.each_record::<EvaluationRecord>(Table::Evaluations, |walk, row_key, evaluation| {
            if key::number(evaluation.number) != row_key {
                let what = format!("its number is {}", evaluation.number);
                walk.problem(Table::Evaluations, row_key, what);
            }
            Ok(())
        })
    }

    /// Blobs that no record names.
    pub(super) fn orphans(&mut self) {
        for (number, (_, named)) in self.blobs.clone() {
            if !named {
                let what = "no record names it; opening the file sweeps it";
                self.problem(Table::Blobs, &key::number(number), what);
            }
        }
    }
}
