//! `lc_rec`: a language model that learns SIDs and the words of titles together (LC-Rec, Zheng et al. 2024, arXiv
//! 2311.09049), by the tasks of MiniOneRec (arXiv 2510.24431):
//!
//! ```text
//! history of SIDs → next SID          every item of a history, as `decoder` over a base learns it
//! title → SID, SID → title            what a code means
//! history of SIDs → next title        both together
//! ```
//!
//! For each history and epoch one item is drawn for each of the last three; the loss is the sum of the four, weighted by
//! options (the weights are ours: the papers mix data sets by their sizes). Validation and answers are about SIDs alone.
//!
//! Words are those of the `base`, which is left as it is but for what learns in its blocks. Without one, weights are
//! random and small and words are bytes, which need no fitting, lose nothing of a title, and mean the same in every file.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use documented::DocumentedFieldsOpt;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::language::{self, Lesson, Speaker, Speech};
use super::{
    Answers, Completion, Decoding, Generate, History, Kind, Learn, Material, Policy, Reads,
    Targets, Training,
};
use crate::error::{Error, Result};
use crate::index::Catalogue;
use crate::model::base::{Base, Small};
use crate::nn::{Moves, Params};
use crate::options::meanings;
use crate::progress::Progress;

/// The record of this policy.
pub(super) const KIND: Kind = Kind {
    name: "lc_rec",
    summary: "language model over codes and titles: next SID, title to SID and back, next title (LC-Rec, MiniOneRec)",
    needs_codebook: true,
    reads: &[Reads::Base, Reads::Titles],
    answers: Answers::Beams,
    objectives: &["sft", "grpo", "s_dpo"],
    meanings: meanings::<Config>,
    config: |given| language::configured(given, Config::check, OF_RANDOM, &["lora", "lora_alpha"]),
    build: |config, material, device, seed| {
        let config: Config = serde_json::from_value(config.clone())?;
        Ok(Policy::Generate(Box::new(LcRec::new(config, material, device, seed)?)))
    },
};

/// Options that only random weights have.
const OF_RANDOM: &[&str] = &["layers", "heads", "width", "hidden"];

/// What can be set.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// A model of kind `causal_lm` to begin with; none if empty.
    base: String,
    /// With a base: the rank of the matrices that learn beside those of its blocks; 0 to move the blocks themselves.
    lora: usize,
    /// With a base: divided by the rank, what products of these matrices are multiplied with.
    lora_alpha: f64,
    /// Without a base: blocks.
    layers: usize,
    /// Without a base: heads of each block.
    heads: usize,
    /// Without a base: numbers in each row.
    width: usize,
    /// Without a base: units of each feed-forward layer.
    hidden: usize,
    /// Share of the numbers dropped while training.
    dropout: f64,
    /// Items of a history that are read, the latest.
    history: usize,
    /// The words before a history.
    prompt: String,
    /// Tokens of a title that are read or written.
    title_tokens: usize,
    /// The weight of telling a SID by its title; 0 to leave it out.
    title_to_sid: f64,
    /// The weight of telling a title by its SID.
    sid_to_title: f64,
    /// The weight of telling the title that follows a history.
    history_to_title: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            base: String::new(),
            lora: 8,
            lora_alpha: 16.0,
            layers: 2,
            heads: 4,
            width: 128,
            hidden: 256,
            dropout: 0.1,
            history: 20,
            prompt: "Items in their order:".to_owned(),
            title_tokens: 32,
            title_to_sid: 0.5,
            sid_to_title: 0.5,
            history_to_title: 0.5,
        }
    }
}

/// The largest of each size: a wrong option should not exhaust the memory.
const MAX_WIDTH: usize = 4096;
const MAX_LAYERS: usize = 64;
const MAX_RANK: usize = 1024;
const MAX_HISTORY: usize = 1024;
const MAX_TITLE: usize = 1024;

impl Config {
    fn check(&self) -> Result<()> {
        let bad = |message: String| Err(Error::input("bad-option", message));
        let in_range = [
            ("lora", self.lora, 0..=MAX_RANK),
            ("layers", self.layers, 1..=MAX_LAYERS),
            ("heads", self.heads, 1..=self.width.max(2) / 2),
            ("width", self.width, 2..=MAX_WIDTH),
            ("hidden", self.hidden, 1..=4 * MAX_WIDTH),
            ("history", self.history, 1..=MAX_HISTORY),
            ("title_tokens", self.title_tokens, 1..=MAX_TITLE),
        ];
        for (name, value, range) in in_range {
            if !range.contains(&value) {
                let (low, high) = range.into_inner();
                return bad(format!("`{name}` must be {low} to {high}, not {value}"));
            }
        }
        if !self.width.is_multiple_of(2 * self.heads) {
            let (width, even) = (self.width, 2 * self.heads);
            return bad(format!("`width` must be a multiple of 2 · `heads` = {even}, not {width}"));
        }
        let weights = [
            ("title_to_sid", self.title_to_sid),
            ("sid_to_title", self.sid_to_title),
            ("history_to_title", self.history_to_title),
        ];
        for (name, weight) in weights {
            if !(weight.is_finite() && weight >= 0.0) {
                return bad(format!("`{name}` must be 0 or more, not {weight}"));
            }
        }
        if !(self.lora_alpha.is_finite() && self.lora_alpha > 0.0) {
            return bad(format!("`lora_alpha` must be above 0, not {}", self.lora_alpha));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return bad(format!("`dropout` must be at least 0 and below 1, not {}", self.dropout));
        }
        Ok(())
    }

    /// The language model to begin with.
    fn begun(&self, material: &Material<'_>, device: &Device, seed: u64) -> Result<Arc<Base>> {
        if let Some(base) = material.base {
            return Ok(Arc::clone(base));
        }
        let Config { layers, heads, width, hidden, .. } = *self;
        Ok(Arc::new(Base::random(Small { layers, heads, width, hidden }, device, seed)?))
    }

    fn moves(&self, base: &Base) -> Moves {
        if base.is_random() || self.lora == 0 {
            return Moves::All;
        }
        Moves::LowRank { rank: self.lora, alpha: self.lora_alpha }
    }
}

/// The words around what is told and what is asked.
#[derive(Clone)]
struct Words {
    /// Before a title whose SID is asked, and behind it.
    title: [Vec<u32>; 2],
    /// Before a SID whose title is asked, and behind it.
    sid: [Vec<u32>; 2],
    /// Behind a history whose next title is asked.
    next: Vec<u32>,
}

impl Words {
    fn new(base: &Base) -> Result<Self> {
        Ok(Words {
            title: [base.read("Title:", true)?, base.read("\nItem:", false)?],
            sid: [base.read("Item:", true)?, base.read("\nTitle:", false)?],
            next: base.read("\nNext title:", false)?,
        })
    }

    /// How many there are.
    fn count(&self) -> usize {
        let parts = self.title.iter().chain(&self.sid).chain([&self.next]);
        parts.map(Vec::len).sum()
    }
}

/// The model.
struct LcRec {
    config: Config,
    speaker: Speaker,
    words: Words,
    /// The tokens of every item's title; empty where it has none.
    titles: Vec<Vec<u32>>,
}

impl LcRec {
    fn new(config: Config, material: &Material<'_>, device: &Device, seed: u64) -> Result<Self> {
        config.check()?;
        let base = config.begun(material, device, seed)?;
        let words = Words::new(&base)?;
        let read = |title: &String| -> Result<Vec<u32>> {
            if title.is_empty() {
                return Ok(Vec::new());
            }
            let mut tokens = base.read(&format!(" {title}"), false)?;
            tokens.truncate(config.title_tokens);
            Ok(tokens)
        };
        let titles = material.titles.iter().map(read).collect::<Result<_>>()?;
        let speech = Speech {
            moves: config.moves(&base),
            prompt: &config.prompt,
            history: config.history,
            more: config.title_tokens + words.count(),
            dropout: config.dropout,
        };
        let speaker = Speaker::new(&base, &speech, &material.catalogue.sizes, device, seed)?;
        Ok(LcRec { config, speaker, words, titles })
    }

    fn title(&self, item: u32) -> &[u32] {
        self.titles.get(item as usize).map_or(&[], Vec::as_slice)
    }

    /// What is asked of titles, with the weight of each task: for each history an item is drawn for each.
    fn tasks(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        training: &mut Training<'_>,
    ) -> [(f64, Lesson); 3] {
        let Config { title_to_sid, sid_to_title, history_to_title, .. } = self.config;
        let weights = [title_to_sid, sid_to_title, history_to_title];
        let mut tasks = weights.map(|weight| (weight, Lesson::default()));
        for history in histories.iter().filter(|history| !history.is_empty()) {
            for (which, (weight, lesson)) in tasks.iter_mut().enumerate() {
                let at = training.random.random_range(0..history.len());
                let (title, codes) = (self.title(history[at]), catalogue.codes_of(history[at]));
                if *weight == 0.0 || title.is_empty() {
                    continue;
                }
                match which {
                    0 => {
                        let [before, behind] = &self.words.title;
                        let text = [before, title, behind].concat();
                        self.speaker.answer(lesson, &text, codes);
                    }
                    1 => {
                        let ([before, behind], sid) = (&self.words.sid, self.speaker.sid(codes));
                        Speaker::reply(lesson, &[before, &sid[..], behind].concat(), title);
                    }
                    _ => {
                        let text = self.speaker.text(catalogue, &history[..at]);
                        Speaker::reply(lesson, &[text, self.words.next.clone()].concat(), title);
                    }
                }
            }
        }
        tasks
    }
}

impl Learn for LcRec {
    fn params(&self) -> &Params {
        self.speaker.params()
    }

    fn basis(&self) -> String {
        self.speaker.basis()
    }

    fn count(
        &mut self,
        _catalogue: &Catalogue,
        _histories: &[History<'_>],
        _progress: &Progress,
    ) -> Result<()> {
        if self.titles.iter().all(Vec::is_empty) {
            let message = "`lc_rec` learns from titles, and no item has one";
            return Err(Error::input("no-titles", message).help(
                "items have titles in the field `title`; a policy of kind `decoder` needs none",
            ));
        }
        Ok(())
    }

    fn loss(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        training: &mut Training<'_>,
    ) -> Result<Tensor> {
        let mut sum = self.speaker.loss(catalogue, histories, training)?;
        if training.targets == Targets::Last {
            return Ok(sum);
        }
        for (weight, lesson) in self.tasks(catalogue, histories, training) {
            let dropout = &mut self.speaker.dropout(training);
            for loss in self.speaker.learned(lesson, dropout)?.into_iter().flatten() {
                sum = (sum + (loss * weight)?)?;
            }
        }
        Ok(sum)
    }

    fn save(&self, catalogue: &Catalogue) -> Result<Vec<u8>> {
        self.speaker.save(catalogue)
    }

    fn load(&mut self, catalogue: &Catalogue, state: &[u8]) -> Result<()> {
        self.speaker.load(catalogue, state)
    }
}

impl Generate for LcRec {
    fn begin<'a>(
        &'a self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
    ) -> Result<Box<dyn Decoding + 'a>> {
        self.speaker.begin(catalogue, histories)
    }

    fn log_probs(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        completions: &[Completion<'_>],
        training: &mut Training<'_>,
    ) -> Result<Tensor> {
        self.speaker.log_probs(catalogue, histories, completions, training)
    }

    fn copy(&self) -> Result<Box<dyn Generate>> {
        let (config, words) = (self.config.clone(), self.words.clone());
        let (speaker, titles) = (self.speaker.copied()?, self.titles.clone());
        Ok(Box::new(LcRec { config, speaker, words, titles }))
    }
}

#[cfg(test)]
mod tests;
