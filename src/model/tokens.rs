//! Texts as tokens, and batches of them without padding: texts of like length run together, within a budget.

use rayon::prelude::*;
use tokenizers::{PostProcessor, Tokenizer, TruncationParams};

use crate::error::{Error, Result};
use crate::progress::Progress;

/// Characters of a text for each token that is read; what comes after them is not looked at, so that an endless
/// text costs no more than a long one.
const MAX_CHARS: usize = 100;

/// Texts that are cut into tokens between two looks at the progress.
const CUT: usize = 256;

/// A tokenizer that cuts long texts at their end.
pub(super) struct Tokens {
    tokenizer: Tokenizer,
    max_tokens: usize,
    /// The token that ends a text where the tokenizer adds none.
    end: Option<u32>,
}

impl Tokens {
    /// Reads at most `max_tokens` tokens of a text, those that the tokenizer adds included. The model knows
    /// `known` tokens.
    pub(super) fn new(mut tokenizer: Tokenizer, max_tokens: usize, known: usize) -> Result<Tokens> {
        let added = tokenizer.get_post_processor().map_or(0, |after| after.added_tokens(false));
        let last = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
        if last as usize >= known {
            let message = format!("the tokenizer has token {last}, the model knows {known}");
            return Err(Error::input("bad-model", message));
        }
        if added >= max_tokens {
            let message =
                format!("the tokenizer adds {added} tokens, of {max_tokens} that are read");
            return Err(Error::input("bad-model", message).help("raise `max_tokens`"));
        }
        let cut = TruncationParams { max_length: max_tokens, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(cut)).map_err(|error| bad(&*error))?;
        tokenizer.with_padding(None);
        Ok(Tokens { tokenizer, max_tokens, end: None })
    }

    /// Lets every text end with a token, whether the tokenizer adds it or not.
    pub(super) fn ending(mut self, end: Option<u32>) -> Result<Tokens> {
        let empty = self.tokenizer.encode_fast("", true).map_err(|error| bad(&*error))?;
        match (end, empty.get_ids().last()) {
            (Some(end), Some(last)) if *last == end => Ok(self),
            (None, None) => Err(Error::input("bad-model", "no token ends a text")
                .help("config.json should have `eos_token_id`")),
            (None, Some(_)) => Ok(self),
            (Some(_), _) => {
                let room = self.max_tokens - 1;
                let cut = TruncationParams { max_length: room, ..TruncationParams::default() };
                self.tokenizer.with_truncation(Some(cut)).map_err(|error| bad(&*error))?;
                self.end = end;
                Ok(self)
            }
        }
    }

    /// The tokens of each text behind a prefix.
    pub(super) fn encode(
        &self,
        prefix: &str,
        texts: &[&str],
        progress: &Progress,
    ) -> Result<Vec<Vec<u32>>> {
        let mut all = Vec::with_capacity(texts.len());
        for texts in texts.chunks(CUT) {
            progress.check()?;
            let tokens = texts.par_iter().map(|text| self.tokens(prefix, text));
            all.extend(tokens.collect::<Result<Vec<_>>>()?);
        }
        Ok(all)
    }

    fn tokens(&self, prefix: &str, text: &str) -> Result<Vec<u32>> {
        let end = text.char_indices().nth(self.max_tokens * MAX_CHARS).map(|(at, _)| at);
        let text = format!("{prefix}{}", &text[..end.unwrap_or(text.len())]);
        let encoding = self.tokenizer.encode_fast(text, true).map_err(|error| bad(&*error))?;
        Ok(encoding.get_ids().iter().copied().chain(self.end).collect())
    }
}

fn bad(error: &dyn std::error::Error) -> Error {
    Error::input("bad-model", format!("the tokenizer: {error}"))
}

/// Runs texts in batches of at most `budget` tokens (or one text), long ones first, and gives their vectors of `dim`
/// numbers in the order of the texts. `run` makes the vectors of one batch.
pub(super) fn in_batches(
    texts: &[Vec<u32>],
    budget: usize,
    dim: usize,
    progress: &Progress,
    mut run: impl FnMut(&[&[u32]]) -> Result<Vec<f32>>,
) -> Result<Vec<f32>> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(texts[at].len()));
    let mut vectors = vec![0.0; texts.len() * dim];
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        progress.check()?;
        let mut held = 0;
        let more = rest.iter().position(|&at| {
            held += texts[at].len();
            held > budget
        });
        let (batch, after) = rest.split_at(more.unwrap_or(rest.len()).max(1));
        let tokens: Vec<&[u32]> = batch.iter().map(|&at| texts[at].as_slice()).collect();
        for (&at, vector) in batch.iter().zip(run(&tokens)?.chunks_exact(dim)) {
            vectors[at * dim..][..dim].copy_from_slice(vector);
        }
        rest = after;
    }
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn batches_keep_the_budget_and_the_order() {
        let texts: Vec<Vec<u32>> = [3usize, 9, 1, 4, 2].map(|n| vec![n as u32; n]).to_vec();
        let mut batches = Vec::new();
        let vectors = in_batches(&texts, 6, 1, &Progress::silent(), |batch| {
            batches.push(batch.iter().map(|text| text.len()).collect::<Vec<_>>());
            Ok(batch.iter().map(|text| text[0] as f32).collect())
        });
        assert_eq!(vectors.unwrap(), [3.0, 9.0, 1.0, 4.0, 2.0]);
        assert_eq!(batches, [vec![9], vec![4], vec![3, 2, 1]]);
        let stopped = Progress::silent();
        stopped.stop();
        let stopped = in_batches(&texts, 6, 1, &stopped, |_| Ok(vec![0.0]));
        assert!(stopped.unwrap_err().is_cancelled());
    }
}
