//! The sizes of a language model, as `config.json` or the metadata of a GGUF file tells them.

use serde_json::Value as Json;

use super::weights::Gguf;
use crate::error::{Error, Result};

/// The families that are known, as `config.json` and as GGUF files name them.
const FAMILIES: &[(&str, Family)] = &[
    ("llama", Family::Llama),
    ("mistral", Family::Llama),
    ("qwen2", Family::Qwen2),
    ("qwen3", Family::Qwen3),
    ("gemma3_text", Family::Gemma3),
    ("gemma3", Family::Gemma3),
];

/// The base of rotary angles where nothing is said.
const ROTARY_BASE: f64 = 10_000.0;

/// Every such layer of Gemma 3 sees everything; those between see a window.
const GEMMA_PATTERN: usize = 6;

/// What language models differ in beyond their sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Llama, Mistral, SmolLM2.
    Llama,
    /// Qwen 2 and 2.5.
    Qwen2,
    /// Qwen 3: queries and keys are normed.
    Qwen3,
    /// Gemma 3: norms behind the layers too, GELU, scaled embeddings, windows.
    Gemma3,
}

impl Family {
    fn of(name: &str) -> Result<Family> {
        let known = FAMILIES.iter().map(|(name, _)| *name);
        let found = FAMILIES.iter().find(|(known, _)| *known == name);
        found.map(|(_, family)| *family).ok_or_else(|| {
            let known: Vec<_> = known.collect();
            Error::input("bad-model", format!("the architecture `{name}` is not known"))
                .help(format!("known: {}", known.join(", ")))
        })
    }
}

/// The sizes.
#[derive(Clone, Debug)]
pub(in crate::model) struct Shape {
    pub(super) family: Family,
    /// Tokens that are known.
    pub(in crate::model) vocabulary: usize,
    /// Numbers in a row.
    pub(in crate::model) width: usize,
    /// Units of the feed-forward layer.
    pub(super) hidden: usize,
    pub(super) heads: usize,
    /// Heads of keys and values; several heads of queries share one.
    pub(super) kv_heads: usize,
    pub(super) head_width: usize,
    /// Keeps the norms finite.
    pub(super) epsilon: f32,
    /// Positions that the model was trained for.
    pub(in crate::model) positions: usize,
    /// For each layer whether it sees a window only.
    pub(super) local: Vec<bool>,
    /// Positions of the window, a row's own included.
    pub(super) window: usize,
    /// Angles of layers that see everything.
    pub(super) rotary: Rotary,
    /// Angles of layers that see a window.
    pub(super) local_rotary: Rotary,
    /// What the products of queries and keys are multiplied with.
    pub(super) scale: f64,
    /// Whether the logits are products with the embeddings.
    pub(super) tied: bool,
}

/// How angles grow with the position.
#[derive(Clone, Debug)]
pub(super) struct Rotary {
    base: f64,
    scaling: Scaling,
    /// Whether pairs are neighbours in a row, as llama.cpp stores Llama's heads, and not half a head apart.
    pub(super) interleaved: bool,
}

/// How a model was stretched beyond the lengths of its first training.
#[derive(Clone, Debug)]
enum Scaling {
    None,
    /// Positions divided by a factor.
    Linear(f64),
    /// Slow angles divided by a factor, those between blended (Llama 3.1).
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        positions: f64,
    },
    /// A divisor for each pair.
    Divisors(Vec<f32>),
}

impl Rotary {
    /// The angle that each pair turns by from one position to the next.
    pub(super) fn angles(&self, head_width: usize) -> Vec<f64> {
        let half = head_width / 2;
        let angle = |pair: usize| self.base.powf(-(pair as f64) / half as f64);
        let stretch = |(pair, angle): (usize, f64)| match &self.scaling {
            Scaling::None => angle,
            Scaling::Linear(factor) => angle / factor,
            Scaling::Llama3 { factor, low, high, positions } => {
                let turns = positions * angle / std::f64::consts::TAU;
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                angle * (kept + (1.0 - kept) / factor)
            }
            Scaling::Divisors(divisors) => {
                angle / f64::from(divisors.get(pair).map_or(1.0, |d| *d))
            }
        };
        (0..half).map(angle).enumerate().map(stretch).collect()
    }

    /// As a part of `config.json` tells: `rope_parameters`, or `rope_scaling` beside `rope_theta`.
    fn of_json(base: Option<f64>, said: &Json) -> Result<Rotary> {
        let number = |name: &str| said[name].as_f64().ok_or_else(|| lacks(name));
        let kind = said["rope_type"].as_str().or(said["type"].as_str()).unwrap_or("default");
        let scaling = match kind {
            "default" => Scaling::None,
            "linear" => Scaling::Linear(number("factor")?),
            "llama3" => Scaling::Llama3 {
                factor: number("factor")?,
                low: number("low_freq_factor")?,
                high: number("high_freq_factor")?,
                positions: number("original_max_position_embeddings")?,
            },
            other => {
                let message = format!("positions scaled by `{other}` are not known");
                return Err(Error::input("bad-model", message)
                    .help("without `rope_scaling` in config.json it runs, for shorter texts"));
            }
        };
        let base = said["rope_theta"].as_f64().or(base).unwrap_or(ROTARY_BASE);
        Ok(Rotary { base, scaling, interleaved: false })
    }
}

fn lacks(name: &str) -> Error {
    Error::input("bad-model", format!("config.json lacks `{name}`"))
}

impl Shape {
    /// What `config.json` tells; that of a model with pictures holds the language model's inside.
    pub(super) fn of_json(json: &Json) -> Result<Shape> {
        let family = Family::of(json["model_type"].as_str().unwrap_or_default())?;
        let json = json.get("text_config").unwrap_or(json);
        let given = |name: &str| json[name].as_u64().map(|number| number as usize);
        let number = |name: &str| given(name).ok_or_else(|| lacks(name));
        let gemma = family == Family::Gemma3;
        // Gemma's nested configurations leave out what is usual.
        let heads = given("num_attention_heads").or(gemma.then_some(8));
        let heads = heads.ok_or_else(|| lacks("num_attention_heads"))?.max(1);
        let kv_heads = given("num_key_value_heads").unwrap_or(if gemma { 4 } else { heads });
        let width = number("hidden_size")?;
        let usual = if gemma { 256 } else { width / heads };
        let head_width = given("head_dim").unwrap_or(usual);
        let layers = number("num_hidden_layers")?;
        let said = &json["rope_parameters"];
        let base = json["rope_theta"].as_f64();
        let (rotary, local_rotary) = if said["full_attention"].is_object() {
            let part = |name: &str| Rotary::of_json(None, &said[name]);
            (part("full_attention")?, part("sliding_attention")?)
        } else {
            let said = if said.is_object() { said } else { &json["rope_scaling"] };
            let whole = Rotary::of_json(base.or(gemma.then_some(1e6)), said)?;
            let local = json["rope_local_base_freq"].as_f64();
            let plain = |base| Rotary { base, scaling: Scaling::None, interleaved: false };
            let local = if gemma { plain(local.unwrap_or(ROTARY_BASE)) } else { whole.clone() };
            (whole, local)
        };
        let scale = json["query_pre_attn_scalar"].as_f64().unwrap_or(head_width as f64);
        let tied = json["tie_word_embeddings"].as_bool().unwrap_or(gemma);
        let shape = Shape {
            family,
            vocabulary: given("vocab_size").or(gemma.then_some(262_208)).unwrap_or(0),
            width,
            hidden: number("intermediate_size")?,
            heads,
            kv_heads,
            head_width,
            epsilon: json["rms_norm_eps"].as_f64().unwrap_or(1e-6) as f32,
            positions: given("max_position_embeddings").unwrap_or(131_072),
            local: local_layers(family, json, layers),
            window: given("sliding_window").unwrap_or(usize::MAX),
            rotary,
            local_rotary,
            scale: 1.0 / scale.sqrt(),
            tied,
        };
        shape.checked()
    }

    /// What the metadata of a GGUF file tells.
    pub(super) fn of_gguf(gguf: &Gguf) -> Result<Shape> {
        let name = gguf.text("general.architecture").unwrap_or_default();
        let family = Family::of(&name)?;
        let key = |key: &str| format!("{name}.{key}");
        let given = |name: &str| gguf.number(&key(name)).map(|number| number as usize);
        let number = |name: &str| {
            given(name).ok_or_else(|| {
                Error::input("bad-model", format!("the GGUF file lacks `{}`", key(name)))
            })
        };
        let (heads, width) = (number("attention.head_count")?.max(1), number("embedding_length")?);
        let head_width = given("attention.key_length").unwrap_or(width / heads);
        let layers = number("block_count")?;
        let gemma = family == Family::Gemma3;
        let base =
            gguf.number(&key("rope.freq_base")).unwrap_or(if gemma { 1e6 } else { ROTARY_BASE });
        let scaling = match gguf.text(&key("rope.scaling.type")).as_deref() {
            Some("linear") => {
                Scaling::Linear(gguf.number(&key("rope.scaling.factor")).unwrap_or(1.0))
            }
            None | Some("none") => gguf.divisors()?.map_or(Scaling::None, Scaling::Divisors),
            Some(other) => {
                let message = format!("positions scaled by `{other}` are not known");
                return Err(Error::input("bad-model", message));
            }
        };
        let rotary = Rotary { base, scaling, interleaved: family == Family::Llama };
        let local_rotary = Rotary { base: ROTARY_BASE, scaling: Scaling::None, interleaved: false };
        let window = given("attention.sliding_window").filter(|_| gemma);
        let shape = Shape {
            family,
            vocabulary: gguf.dims("token_embd.weight").map_or(0, |dims| dims[0]),
            width,
            hidden: number("feed_forward_length")?,
            heads,
            kv_heads: given("attention.head_count_kv").unwrap_or(heads),
            head_width,
            epsilon: gguf.number(&key("attention.layer_norm_rms_epsilon")).unwrap_or(1e-6) as f32,
            positions: given("context_length").unwrap_or(131_072),
            local: (1..=layers).map(|at| gemma && !at.is_multiple_of(GEMMA_PATTERN)).collect(),
            window: window.unwrap_or(usize::MAX),
            rotary,
            local_rotary,
            scale: 1.0 / (head_width as f64).sqrt(),
            tied: gguf.dims("output.weight").is_none(),
        };
        shape.checked()
    }

    fn checked(self) -> Result<Shape> {
        let whole = self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads);
        if !whole || self.head_width == 0 || !self.head_width.is_multiple_of(2) {
            let message = format!(
                "{} heads of {} numbers with {} of keys and values are no attention",
                self.heads, self.head_width, self.kv_heads
            );
            return Err(Error::input("bad-model", message));
        }
        Ok(self)
    }
}

/// Which layers see a window only.
fn local_layers(family: Family, json: &Json, layers: usize) -> Vec<bool> {
    if let Some(types) = json["layer_types"].as_array() {
        let local = |at: usize| types.get(at).is_some_and(|kind| kind == "sliding_attention");
        return (0..layers).map(local).collect();
    }
    let number = |name: &str, usual: usize| json[name].as_u64().map_or(usual, |n| n as usize);
    let pattern = number("sliding_window_pattern", GEMMA_PATTERN).max(1);
    let (from, used) = match family {
        Family::Llama => (0, json["sliding_window"].is_u64()),
        Family::Qwen2 | Family::Qwen3 => {
            let used = json["use_sliding_window"].as_bool().unwrap_or(false);
            (number("max_window_layers", layers), used)
        }
        Family::Gemma3 => return (1..=layers).map(|at| !at.is_multiple_of(pattern)).collect(),
    };
    (0..layers).map(|at| used && at >= from).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn llama(more: Json) -> Json {
        let mut json = json!({
            "model_type": "llama", "hidden_size": 64, "num_attention_heads": 4,
            "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 100,
        });
        for (name, value) in more.as_object().unwrap() {
            json[name] = value.clone();
        }
        json
    }

    #[test]
    fn both_ways_to_tell_of_positions_are_read() {
        let old = Shape::of_json(&llama(json!({"rope_theta": 500_000.0}))).unwrap();
        let new = json!({"rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}});
        let new = Shape::of_json(&llama(new)).unwrap();
        assert_eq!(old.rotary.angles(16), new.rotary.angles(16));
        assert_eq!((old.kv_heads, old.head_width, old.local), (4, 16, vec![false; 2]));
    }

    #[test]
    fn llama_3_slows_slow_angles_alone() {
        let said = json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        });
        let stretched = Rotary::of_json(Some(500_000.0), &said).unwrap().angles(64);
        let plain = Rotary::of_json(Some(500_000.0), &Json::Null).unwrap().angles(64);
        assert_eq!(stretched[0], plain[0]);
        assert!((stretched[31] * 8.0 / plain[31] - 1.0).abs() < 1e-12);
        let between =
            stretched.iter().zip(&plain).filter(|(a, b)| *a < b && *a * 8.0 > **b * 1.001);
        assert!((1..10).contains(&between.count()));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let error = Shape::of_json(&json!({"model_type": "mamba"})).unwrap_err();
        assert!(error.help_text().unwrap().contains("qwen3"), "{error}");
        let error = Shape::of_json(&llama(json!({"num_key_value_heads": 3}))).unwrap_err();
        assert_eq!(error.code(), "bad-model");
        let yarn = json!({"rope_scaling": {"type": "yarn", "factor": 4.0}});
        assert_eq!(Shape::of_json(&llama(yarn)).unwrap_err().code(), "bad-model");
        assert!(Shape::of_json(&json!({"model_type": "qwen2"})).is_err());
    }
}
