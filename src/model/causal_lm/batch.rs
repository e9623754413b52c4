//! Several answers at once: the weights, which are what a token costs, are read once for all of them.
//!
//! Whoever asks puts its question in a queue. One of those who wait drives: each step reads the next tokens of every
//! text under way, a piece of a question or the last token of an answer, and questions join and leave between steps.
//! Who has its answer leaves the wheel to another. What a text gives does not depend on the texts beside it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use candle_core::Tensor;
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::model::language::{Language, Memory};
use crate::progress::Progress;

/// Tokens of a question that are read in one step. What is kept of a question ends at a multiple of it, so that an
/// answer does not depend on what was asked before.
const PIECE: usize = 64;
/// How often somebody who waits looks up.
const TICK: Duration = Duration::from_millis(50);

/// What answers are made with.
pub(super) struct Voice<'a> {
    pub(super) language: &'a Language,
    /// Chooses a token by the logits.
    pub(super) choose: &'a (dyn Fn(Vec<f32>, &mut ChaCha8Rng) -> u32 + Sync),
    /// Tokens that end an answer.
    pub(super) ends: &'a [u32],
    /// Tokens of a question and its answer together.
    pub(super) context: usize,
}

/// One question.
pub(super) struct Question {
    /// Its tokens, at least one.
    pub(super) prompt: Vec<u32>,
    /// The most tokens of the answer.
    pub(super) most: usize,
    /// Where the draws come from.
    pub(super) random: ChaCha8Rng,
}

/// The questions under way.
pub(super) struct Batch {
    /// Texts that are read in one step at the most.
    size: usize,
    desk: Mutex<Desk>,
    /// Something has been answered, or the wheel is free.
    news: Condvar,
    wheel: Mutex<Wheel>,
}

/// What those who ask and the one who drives hand each other.
#[derive(Default)]
struct Desk {
    next: u64,
    queue: VecDeque<(u64, Question)>,
    /// Answers that nobody has fetched yet.
    done: HashMap<u64, Result<Vec<u32>>>,
    /// Those who do not wait any longer.
    gone: HashSet<u64>,
}

/// The texts under way.
#[derive(Default)]
struct Wheel {
    texts: Vec<Text>,
    /// The question that was read last, and what was read of it. Questions of a job begin alike.
    kept: (Vec<u32>, Memory),
}

/// A question and its answer so far.
struct Text {
    id: u64,
    question: Question,
    memory: Memory,
    answer: Vec<u32>,
}

impl Text {
    /// Whether some of the question has not been read.
    fn reads(&self) -> bool {
        self.memory.len() < self.question.prompt.len()
    }

    /// The tokens of the next step.
    fn piece(&self) -> &[u32] {
        let prompt = &self.question.prompt;
        if self.reads() {
            let from = self.memory.len();
            // Pieces end at the multiples, wherever they begin.
            &prompt[from..prompt.len().min((from / PIECE + 1) * PIECE)]
        } else {
            &self.answer[self.answer.len() - 1..]
        }
    }
}

/// How many tokens two texts begin with alike, in whole pieces. The last token of a question is always read: its row
/// tells what follows.
fn alike(prompt: &[u32], other: &[u32]) -> usize {
    let same = prompt[..prompt.len() - 1].iter().zip(other).take_while(|(a, b)| a == b).count();
    same / PIECE * PIECE
}

impl Batch {
    /// For so many texts at a time.
    pub(super) fn new(size: usize) -> Batch {
        Batch {
            size,
            desk: Mutex::default(),
            news: Condvar::new(),
            wheel: Mutex::new(Wheel::default()),
        }
    }

    /// Asks, and waits for the tokens of the answer, the one that ends it left out.
    pub(super) fn ask(
        &self,
        voice: &Voice<'_>,
        question: Question,
        progress: &Progress,
    ) -> Result<Vec<u32>> {
        let id = {
            let mut desk = self.desk();
            desk.next += 1;
            let id = desk.next;
            desk.queue.push_back((id, question));
            id
        };
        loop {
            let wheel = match self.wheel.try_lock() {
                Ok(wheel) => Some(wheel),
                // Whoever panicked at the wheel took only its own answer with it.
                Err(TryLockError::Poisoned(wheel)) => Some(wheel.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            };
            if let Some(mut wheel) = wheel {
                let end = self.drive(voice, &mut wheel, id, progress);
                drop(wheel);
                self.news.notify_all();
                return end;
            }
            let mut desk = self.desk();
            if let Some(end) = desk.done.remove(&id) {
                return end;
            }
            if progress.stopping() {
                desk.gone.insert(id);
                return Err(Error::cancelled());
            }
            drop(self.news.wait_timeout(desk, TICK));
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on with all texts until the answer of one is there.
    fn drive(
        &self,
        voice: &Voice<'_>,
        wheel: &mut Wheel,
        id: u64,
        progress: &Progress,
    ) -> Result<Vec<u32>> {
        loop {
            if let Some(end) = self.desk().done.remove(&id) {
                return end;
            }
            if progress.stopping() {
                self.desk().gone.insert(id);
                return Err(Error::cancelled());
            }
            self.admit(wheel)?;
            let ended = match wheel.step(voice) {
                Ok(ended) => ended,
                // What a step fails at, it fails at for all of its texts.
                Err(error) => {
                    let all = std::mem::take(&mut wheel.texts).into_iter();
                    all.map(|text| (text.id, Err(error.clone()))).collect()
                }
            };
            if !ended.is_empty() {
                self.desk().done.extend(ended);
                self.news.notify_all();
            }
        }
    }

    /// Lets questions join, and those leave whose answers nobody waits for.
    fn admit(&self, wheel: &mut Wheel) -> Result<()> {
        let mut desk = self.desk();
        let Desk { queue, done, gone, .. } = &mut *desk;
        wheel.texts.retain(|text| !gone.contains(&text.id));
        queue.retain(|(id, _)| !gone.contains(id));
        done.retain(|id, _| !gone.contains(id));
        gone.clear();
        while wheel.texts.len() < self.size
            && let Some((_, question)) = queue.front()
        {
            let prompt = &question.prompt;
            let kept = alike(prompt, &wheel.kept.0).min(wheel.kept.1.len());
            // What another is reading just now is worth waiting for.
            let mut reading = wheel.texts.iter().filter(|text| text.reads());
            if reading.any(|text| alike(prompt, &text.question.prompt) > kept) {
                break;
            }
            let mut memory = wheel.kept.1.clone();
            memory.truncate(kept)?;
            let Some((id, question)) = queue.pop_front() else { break };
            wheel.texts.push(Text { id, question, memory, answer: Vec::new() });
        }
        Ok(())
    }
}

impl Wheel {
    /// Reads on in every text. Gives the answers that have ended.
    fn step(&mut self, voice: &Voice<'_>) -> Result<Vec<(u64, Result<Vec<u32>>)>> {
        let pieces: Vec<Vec<u32>> = self.texts.iter().map(|text| text.piece().to_vec()).collect();
        let memories = self.texts.iter_mut().map(|text| &mut text.memory);
        let mut read: Vec<_> = pieces.iter().map(Vec::as_slice).zip(memories).collect();
        let rows = voice.language.read(&mut read)?;
        // Nothing follows yet where the question goes on.
        let speak = |(at, text): (usize, &Text)| (!text.reads()).then_some(at as u32);
        let speaks: Vec<u32> = self.texts.iter().enumerate().filter_map(speak).collect();
        if speaks.is_empty() {
            return Ok(Vec::new());
        }
        let chosen = Tensor::new(speaks.as_slice(), rows.device())?;
        let logits = voice.language.logits(&rows.index_select(&chosen, 0)?)?;
        let mut ended = Vec::new();
        for (at, logits) in speaks.into_iter().zip(logits) {
            let text = &mut self.texts[at as usize];
            if text.answer.is_empty() {
                self.kept = (text.question.prompt.clone(), text.memory.clone());
            }
            let token = (voice.choose)(logits, &mut text.question.random);
            let ends = voice.ends.contains(&token);
            if !ends {
                text.answer.push(token);
            }
            let full =
                text.answer.len() >= text.question.most || text.memory.len() >= voice.context;
            if ends || full {
                ended.push((text.id, Ok(std::mem::take(&mut text.answer))));
            }
        }
        self.texts.retain(|text| !ended.iter().any(|(id, _)| *id == text.id));
        Ok(ended)
    }
}
