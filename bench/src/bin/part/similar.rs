//! Texts as bags of words (TF-IDF), and pairs of texts that are alike by their cosine.

use std::collections::HashMap;

/// Texts as sparse vectors of unit length: words, each weighed by how often it is in the text and the logarithm of how
/// rare it is.
pub(crate) struct Bags {
    /// Word and weight, by text.
    texts: Vec<Vec<(usize, f64)>>,
    /// Text and weight, by word.
    words: Vec<Vec<(usize, f64)>>,
}

/// Two texts, the first before the second, and their cosine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) first: usize,
    pub(crate) second: usize,
    pub(crate) cosine: f64,
}

impl Bags {
    /// The bags of texts.
    pub(crate) fn new(texts: &[String]) -> Self {
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut counted: Vec<HashMap<usize, f64>> = Vec::with_capacity(texts.len());
        let mut occurs: Vec<f64> = Vec::new();
        for text in texts {
            let mut counts: HashMap<usize, f64> = HashMap::new();
            for word in words(text) {
                let next = numbers.len();
                let word = *numbers.entry(word).or_insert(next);
                *counts.entry(word).or_default() += 1.0;
            }
            occurs.resize(numbers.len(), 0.0);
            for word in counts.keys() {
                occurs[*word] += 1.0;
            }
            counted.push(counts);
        }
        let weigh =
            |(word, count): (usize, f64)| (word, count * (texts.len() as f64 / occurs[word]).ln());
        let bags = counted.into_iter().map(|counts| {
            let mut bag: Vec<(usize, f64)> = counts.into_iter().map(weigh).collect();
            bag.sort_unstable_by_key(|(word, _)| *word);
            let length = bag.iter().map(|(_, x)| x * x).sum::<f64>().sqrt();
            for (_, x) in &mut bag {
                *x /= length.max(f64::MIN_POSITIVE);
            }
            bag
        });
        let texts: Vec<Vec<(usize, f64)>> = bags.collect();
        let mut words = vec![Vec::new(); numbers.len()];
        for (text, bag) in texts.iter().enumerate() {
            for (word, weight) in bag {
                words[*word].push((text, *weight));
            }
        }
        Bags { texts, words }
    }

    /// The cosine of two texts.
    pub(crate) fn cosine(&self, first: usize, second: usize) -> f64 {
        self.cosines(first)[second]
    }

    /// Each text with its nearest neighbour, the lower number where several are as near, where their cosine is at least
    /// so much. No pair comes twice.
    pub(crate) fn nearest(&self, least: f64) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = Vec::new();
        for text in 0..self.texts.len() {
            let others = self.cosines(text).into_iter().enumerate();
            let mut best = Pair { first: text, second: text, cosine: f64::NEG_INFINITY };
            for (other, cosine) in others.filter(|(other, _)| *other != text) {
                if cosine > best.cosine {
                    best = Pair { first: text.min(other), second: text.max(other), cosine };
                }
            }
            if best.cosine >= least {
                pairs.push(best);
            }
        }
        pairs.sort_unstable_by_key(|pair| (pair.first, pair.second));
        pairs.dedup_by_key(|pair| (pair.first, pair.second));
        pairs
    }

    /// The cosines of a text with all of them.
    fn cosines(&self, text: usize) -> Vec<f64> {
        let mut cosines = vec![0.0; self.texts.len()];
        for (word, weight) in &self.texts[text] {
            for (other, theirs) in &self.words[*word] {
                cosines[*other] += weight * theirs;
            }
        }
        cosines
    }
}

/// Words in lower case: runs of letters and digits.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bags(texts: &[&str]) -> Bags {
        Bags::new(&texts.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_same_words_have_cosine_one_and_other_words_none() {
        let bags = bags(&["Red Sign, 12x12", "sign red 12X12", "blue tape", ""]);
        assert!((bags.cosine(0, 1) - 1.0).abs() < 1e-12);
        assert_eq!(bags.cosine(0, 2), 0.0);
        assert_eq!(bags.cosine(3, 3), 0.0);
    }

    #[test]
    fn rare_words_weigh_more() {
        let bags = bags(&["steel screw", "steel bolt", "brass screw", "steel nut", "steel pin"]);
        // `screw` is in two texts, `steel` in four of five.
        assert!(bags.cosine(0, 2) > bags.cosine(0, 1));
    }

    #[test]
    fn pairs_are_of_nearest_neighbours_and_come_once() {
        let bags = bags(&["red sign", "red sign", "blue tape roll", "tape roll", "glue"]);
        let pairs = bags.nearest(0.5);
        let found: Vec<_> = pairs.iter().map(|pair| (pair.first, pair.second)).collect();
        assert_eq!(found, [(0, 1), (2, 3)]);
        assert_eq!(bags.nearest(0.99).len(), 1);
    }
}
