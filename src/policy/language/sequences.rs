//! Histories as texts: a prompt, then the codes of item after item. Every item of a text is predicted from what comes
//! before it in one pass; answers go on from the end.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::Language;
use crate::error::{Error, Result};
use crate::index::Catalogue;
use crate::model::base::Base;
use crate::nn::{Dropout, Moves, Segments, cross_entropy, sum_rows};
use crate::policy::timeline::latest;
use crate::policy::{History, Targets, Training};

/// A language model that continues histories.
pub(in crate::policy) struct Speaker {
    pub(super) language: Language,
    /// The tokens before a history.
    prompt: Vec<u32>,
    /// Items of a history that are read, the latest.
    history: usize,
    /// Share of the numbers dropped behind attention and feed-forward layers while training.
    dropout: f64,
}

/// How a language model becomes a speaker.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Speech<'a> {
    /// What learns of the blocks.
    pub(in crate::policy) moves: Moves,
    /// The words before a history.
    pub(in crate::policy) prompt: &'a str,
    /// Items of a history that are read, the latest.
    pub(in crate::policy) history: usize,
    /// Tokens that a text may have beyond a history and an answer.
    pub(in crate::policy) more: usize,
    /// Share of the numbers dropped while training.
    pub(in crate::policy) dropout: f64,
}

/// Packed texts, and what is asked of their rows.
#[derive(Default)]
pub(in crate::policy) struct Lesson {
    pub(super) tokens: Vec<u32>,
    pub(super) lengths: Vec<usize>,
    /// For each level the rows that are asked for its code, and the codes.
    pub(super) codes: Vec<(Vec<u32>, Vec<u32>)>,
    /// Rows that are asked for a word, and the words.
    words: (Vec<u32>, Vec<u32>),
}

impl Lesson {
    /// A text is done: so many tokens have been added since the last.
    fn ends(&mut self) {
        let before: usize = self.lengths.iter().sum();
        self.lengths.push(self.tokens.len() - before);
    }
}

impl Speaker {
    /// Continues histories in the codes of a catalogue, over a base.
    pub(in crate::policy) fn new(
        base: &Arc<Base>,
        speech: &Speech<'_>,
        sizes: &[usize],
        device: &Device,
        seed: u64,
    ) -> Result<Self> {
        let Speech { moves, history, dropout, .. } = *speech;
        let prompt = base.read(speech.prompt, true)?;
        if prompt.is_empty() {
            return Err(Error::input("bad-option", "`prompt` has no token")
                .help("a first code follows the last token of the prompt"));
        }
        let positions = prompt.len() + (history + 1) * sizes.len() + speech.more;
        let language = Language::new(base, (moves, positions), sizes, device, seed)?;
        Ok(Speaker { language, prompt, history, dropout })
    }

    /// The same with variables of its own.
    pub(in crate::policy) fn copied(&self) -> Result<Speaker> {
        let Speaker { history, dropout, .. } = *self;
        Ok(Speaker {
            language: self.language.copy()?,
            prompt: self.prompt.clone(),
            history,
            dropout,
        })
    }

    /// The codes of a catalogue made for another codebook would read outside the table.
    pub(in crate::policy) fn check(&self, catalogue: &Catalogue) -> Result<()> {
        let (found, wanted) = (&catalogue.sizes[..], self.language.sizes());
        if found == wanted {
            return Ok(());
        }
        let message = format!("the catalogue has levels of {found:?} codes, the policy {wanted:?}");
        Err(Error::internal(message))
    }

    /// The dropout of a loss.
    pub(in crate::policy) fn dropout<'a>(&self, training: &'a mut Training<'_>) -> Dropout<'a> {
        let random = training.train.then_some(&mut *training.random);
        Dropout { share: self.dropout, random }
    }

    /// The tokens of a SID.
    pub(in crate::policy) fn sid(&self, codes: &[u16]) -> Vec<u32> {
        self.language.tokens_of(codes).collect()
    }

    /// The tokens of a history behind the prompt.
    pub(in crate::policy) fn text(&self, catalogue: &Catalogue, history: History<'_>) -> Vec<u32> {
        let items = latest(history, self.history).iter();
        let codes = items.flat_map(|at| self.language.tokens_of(catalogue.codes_of(*at)));
        self.prompt.iter().copied().chain(codes).collect()
    }

    /// A lesson in what follows: the items of histories, each from those before it.
    pub(in crate::policy) fn lesson(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        asked: Targets,
    ) -> Result<Lesson> {
        let mut lesson = Lesson::default();
        for history in histories.iter().filter(|history| !history.is_empty()) {
            let read = latest(history, self.history + 1);
            let first = if asked == Targets::All { 0 } else { read.len() - 1 };
            lesson.tokens.extend(&self.prompt);
            for (at, item) in read.iter().enumerate() {
                let codes = catalogue.codes_of(*item);
                self.spell(&mut lesson, codes, at >= first);
            }
            lesson.tokens.pop(); // nothing follows the last code
            lesson.ends();
        }
        if lesson.lengths.is_empty() {
            return Err(Error::internal("a loss needs at least one item to predict"));
        }
        Ok(lesson)
    }

    /// Adds the codes of an item; if `asked`, each is asked from the row before it.
    fn spell(&self, lesson: &mut Lesson, codes: &[u16], asked: bool) {
        lesson.codes.resize(self.language.sizes().len(), Default::default());
        for (level, token) in self.language.tokens_of(codes).enumerate() {
            if asked {
                let (rows, targets) = &mut lesson.codes[level];
                rows.push(lesson.tokens.len() as u32 - 1);
                targets.push(u32::from(codes[level]));
            }
            lesson.tokens.push(token);
        }
    }

    /// Adds a text and the codes that answer it.
    pub(in crate::policy) fn answer(&self, lesson: &mut Lesson, text: &[u32], codes: &[u16]) {
        lesson.tokens.extend(text);
        self.spell(lesson, codes, true);
        lesson.tokens.pop(); // nothing follows the last code
        lesson.ends();
    }

    /// Adds a text and the words that answer it.
    pub(in crate::policy) fn reply(lesson: &mut Lesson, text: &[u32], words: &[u32]) {
        lesson.tokens.extend(text);
        for word in words {
            lesson.words.0.push(lesson.tokens.len() as u32 - 1);
            lesson.words.1.push(*word);
            lesson.tokens.push(*word);
        }
        lesson.tokens.pop();
        lesson.ends();
    }

    /// The loss of a lesson: the sum over levels of the mean over codes, and the mean over words; nothing of what is not
    /// asked.
    pub(in crate::policy) fn learned(
        &self,
        lesson: Lesson,
        dropout: &mut Dropout<'_>,
    ) -> Result<[Option<Tensor>; 2]> {
        let segments = Segments::of_lengths(lesson.lengths);
        let x = self.language.forward(&lesson.tokens, &segments, dropout)?; // tokens × width
        let mut sum: Option<Tensor> = None;
        for (level, (rows, targets)) in lesson.codes.into_iter().enumerate() {
            if rows.is_empty() {
                continue;
            }
            let logits = self.language.code_logits(&sum_rows(&x, rows, 1)?, level, true)?;
            let loss = cross_entropy(&logits, targets)?;
            sum = Some(match sum {
                Some(sum) => (sum + loss)?,
                None => loss,
            });
        }
        let (rows, targets) = lesson.words;
        let words = if rows.is_empty() {
            None
        } else {
            Some(cross_entropy(&self.language.word_logits(&sum_rows(&x, rows, 1)?)?, targets)?)
        };
        Ok([sum, words])
    }
}
