//! A speaker as a policy: it learns the next items of histories, and answers along the trie.

use candle_core::Tensor;

use super::{Lesson, Read, Speaker};
use crate::error::{Error, Result};
use crate::index::Catalogue;
use crate::nn::{Cache, Params, Segments, log_prob, log_softmax, sum_rows};
use crate::policy::state::{Reader, Writer};
use crate::policy::{Completion, Decoding, Generate, History, Learn, Training};

impl Learn for Speaker {
    fn params(&self) -> &Params {
        &self.language.params
    }

    fn basis(&self) -> String {
        self.language.base().fingerprint.clone()
    }

    fn loss(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        training: &mut Training<'_>,
    ) -> Result<Tensor> {
        self.check(catalogue)?;
        let lesson = self.lesson(catalogue, histories, training.targets)?;
        let [codes, _] = self.learned(lesson, &mut self.dropout(training))?;
        codes.ok_or_else(|| Error::internal("a SID has at least one level"))
    }

    /// The variables, behind what tells the base from others.
    fn save(&self, _catalogue: &Catalogue) -> Result<Vec<u8>> {
        let mut state = Writer::default();
        state.bytes(self.basis().as_bytes()).bytes(&self.language.params.save()?);
        Ok(state.finish())
    }

    fn load(&mut self, _catalogue: &Catalogue, state: &[u8]) -> Result<()> {
        let mut state = Reader::new(state);
        let (base, weights) = (state.bytes()?, state.bytes()?);
        state.finish()?;
        if base != self.basis().as_bytes() {
            let message =
                "the base of the policy has other weights than those that it learned over";
            return Err(Error::input("base-changed", message).help(
                "create the model anew over the weights that it had, or train the policy again",
            ));
        }
        self.language.params.load(&weights)
    }
}

impl Generate for Speaker {
    fn begin<'a>(
        &'a self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
    ) -> Result<Box<dyn Decoding + 'a>> {
        self.check(catalogue)?;
        let texts: Vec<Vec<u32>> = histories.iter().map(|h| self.text(catalogue, h)).collect();
        let segments = Segments::of_lengths(texts.iter().map(Vec::len));
        let read = self.language.read(&texts.concat(), &segments)?;
        let owners = (0..histories.len() as u32).collect();
        let caches = self.language.caches();
        Ok(Box::new(Beams { speaker: self, read, owners, caches, level: 0 }))
    }

    /// A history is read anew for each of its completions, for attention with gradient knows one text for each row.
    fn log_probs(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        completions: &[Completion<'_>],
        training: &mut Training<'_>,
    ) -> Result<Tensor> {
        self.check(catalogue)?;
        let texts: Vec<Vec<u32>> = histories.iter().map(|h| self.text(catalogue, h)).collect();
        let mut lesson = Lesson::default();
        for Completion { history, codes } in completions {
            self.answer(&mut lesson, &texts[*history as usize], codes);
        }
        let segments = Segments::of_lengths(lesson.lengths);
        let dropout = &mut self.dropout(training);
        let x = self.language.forward(&lesson.tokens, &segments, dropout)?;
        let column = |(level, (rows, targets)): (usize, (Vec<u32>, Vec<u32>))| -> Result<Tensor> {
            let logits = self.language.code_logits(&sum_rows(&x, rows, 1)?, level, true)?;
            log_prob(&logits, targets)
        };
        let columns: Vec<Tensor> =
            lesson.codes.into_iter().enumerate().map(column).collect::<Result<_>>()?;
        Ok(Tensor::stack(&columns, 1)?)
    }

    fn copy(&self) -> Result<Box<dyn Generate>> {
        Ok(Box::new(self.copied()?))
    }
}

/// The beams of a batch of histories. What was read of a history is shared by its beams.
struct Beams<'a> {
    speaker: &'a Speaker,
    read: Read,
    /// The history of each row.
    owners: Vec<u32>,
    /// What each row has gathered since, for each layer.
    caches: Vec<Cache>,
    /// Codes that each row has emitted.
    level: usize,
}

impl Decoding for Beams<'_> {
    fn first(&mut self) -> Result<Vec<f32>> {
        log_softmax(&self.speaker.language.code_logits(&self.read.states, 0, false)?)
    }

    fn step(&mut self, parents: &[u32], codes: &[u16]) -> Result<Vec<f32>> {
        let (level, language) = (self.level, &self.speaker.language);
        let sizes = language.sizes();
        let fits = parents.len() == codes.len()
            && level + 1 < sizes.len()
            && parents.iter().all(|&parent| (parent as usize) < self.owners.len())
            && codes.iter().all(|&code| usize::from(code) < sizes[level]);
        if !fits {
            return Err(Error::internal(format!(
                "level {level} cannot be extended by these codes"
            )));
        }
        self.owners = parents.iter().map(|&parent| self.owners[parent as usize]).collect();
        self.level += 1;
        if parents.is_empty() {
            return Ok(Vec::new());
        }
        let parents = Tensor::new(parents, self.read.states.device())?;
        for cache in &mut self.caches {
            *cache = cache.select(&parents)?;
        }
        let tokens: Vec<u32> = codes.iter().map(|code| language.token(level, *code)).collect();
        let x = language.step(&tokens, (&self.read, &self.owners), &mut self.caches)?;
        log_softmax(&language.code_logits(&x, level + 1, false)?)
    }
}
