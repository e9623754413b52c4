//! Conformance of the models that need no weights, and a measurement of neighbours.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::collections::HashMap;
use std::time::Instant;

use serde_json::json;

use super::*;
use crate::index::flat;
use crate::index::product::dot;

/// Titles about a few things, with some noise.
fn titles(count: usize) -> Vec<String> {
    let things = ["running shoe", "soccer ball", "yoga mat", "tennis racket", "rain jacket"];
    let colours = ["red", "blue", "green", "black", "white", "yellow"];
    let title = |i: usize| format!("{} {} no. {}", colours[i % 6], things[i % 5], i % 97);
    (0..count).map(title).collect()
}

/// The kinds that are fitted on a catalogue.
fn fitted() -> impl Iterator<Item = (&'static Kind, Fit, Load)> {
    KINDS.iter().filter_map(|kind| match kind.make {
        Make::Fitted(fit, load) => Some((*kind, fit, load)),
        Make::Opened(..) => None,
    })
}

#[test]
fn every_encoder_meets_the_same_demands() {
    let texts = titles(40);
    let silent = Progress::silent();
    for (kind, fit, load) in fitted() {
        let defaults = Json::Object((kind.config)(&[]).unwrap());
        let encoder = fit(&defaults, &texts, &Progress::silent()).unwrap();
        let asked = ["Red RUNNING shoe", "running shoes, blue", "yoga mat", "", " -- "];
        let vectors = encoder.encode(&asked, &silent).unwrap();
        assert_eq!(vectors.len(), asked.len() * encoder.dim().unwrap(), "{}", kind.name);
        let row =
            |at: usize| &vectors[at * encoder.dim().unwrap()..(at + 1) * encoder.dim().unwrap()];
        for at in 0..3 {
            assert!((dot(row(at), row(at)) - 1.0).abs() < 1e-5, "{}: unit length", kind.name);
        }
        assert!(row(3).iter().chain(row(4)).all(|x| *x == 0.0), "{}: no words", kind.name);
        let (alike, apart) = (dot(row(0), row(1)), dot(row(0), row(2)));
        assert!(alike > apart + 0.2, "{}: {alike} {apart}", kind.name);
        let again = fit(&defaults, &texts, &Progress::silent()).unwrap();
        assert_eq!(again.to_bytes(), encoder.to_bytes(), "{}: deterministic", kind.name);
        let loaded = load(&encoder.to_bytes()).unwrap();
        assert_eq!(
            loaded.encode(&asked, &silent).unwrap(),
            vectors,
            "{}: save and load",
            kind.name
        );
        assert!(load(&encoder.to_bytes()[..50]).is_err(), "{}", kind.name);
        assert!(fit(&json!({"dmi": 1}), &texts, &Progress::silent()).is_err());
        let stopped = Progress::silent();
        stopped.stop();
        let stopped = fit(&defaults, &texts, &stopped).err().unwrap();
        assert!(stopped.is_cancelled(), "{}", kind.name);
        let empty = fit(&defaults, &[], &Progress::silent()).unwrap();
        assert_eq!(
            empty.encode(&["shoe"], &silent).unwrap().len(),
            empty.dim().unwrap(),
            "{}",
            kind.name
        );
    }
}

/// The share of the ten nearest neighbours that lie in the same category (the last of the first path),
/// over every 23rd item of the JSON Lines file `SIDQL_ITEMS`.
#[test]
#[ignore = "needs a file of items"]
fn measure() {
    let path = std::env::var("SIDQL_ITEMS").unwrap();
    let records: Vec<_> = crate::format::open_reader(path.as_ref(), None, &json!({}))
        .unwrap()
        .collect::<Result<_>>()
        .unwrap();
    let category = |record: &crate::format::Record| {
        let paths = record.fields.iter().find(|(name, _)| name == "categories");
        paths.map(|(_, paths)| paths[0].as_array().and_then(|path| path.last()).cloned())
    };
    let categories: Vec<_> = records.iter().map(category).collect();
    let titles = ["title".to_owned()];
    for (what, parts) in [("title", Some(&titles[..])), ("everything", None)] {
        let texts: Vec<String> = records
            .iter()
            .map(|record| {
                let fields: Vec<_> = record.fields.iter().map(|(n, v)| (n.as_str(), v)).collect();
                crate::enrich::text::text_of(&fields, parts)
            })
            .collect();
        let silent = Progress::silent();
        for (dim, projection) in [(512, "none"), (256, "lsa")] {
            let config = json!({"dim": dim, "projection": projection});
            let began = Instant::now();
            let encoder =
                (fitted().next().unwrap().1)(&config, &texts, &Progress::silent()).unwrap();
            let fitted = began.elapsed();
            let asked: Vec<&str> = texts.iter().map(String::as_str).collect();
            let began = Instant::now();
            let vectors = encoder.encode(&asked, &silent).unwrap();
            let encoded = began.elapsed();
            let (mut same, mut all) = (0, 0);
            for row in (0..texts.len()).step_by(23) {
                let query = &vectors[row * dim..(row + 1) * dim];
                let near = flat::nearest(&vectors, query, 11, None);
                for (other, _) in near.into_iter().filter(|(other, _)| *other as usize != row) {
                    all += 1;
                    same += usize::from(categories[other as usize] == categories[row]);
                }
            }
            let purity = f64::from(same as u32) / f64::from(all);
            println!(
                "{what} {projection} {dim}: fit {fitted:?}, encode {encoded:?}, {purity:.4} of neighbours in the category, {} bytes",
                encoder.to_bytes().len()
            );
            if let Ok(folder) = std::env::var("SIDQL_OUT") {
                let bytes: Vec<u8> = vectors.iter().flat_map(|x| x.to_le_bytes()).collect();
                std::fs::write(format!("{folder}/{what}-{projection}-{dim}.f32"), bytes).unwrap();
            }
        }
    }
    let mut sizes: HashMap<_, u32> = HashMap::new();
    for category in &categories {
        *sizes.entry(category).or_default() += 1;
    }
    println!("{} categories", sizes.len());
}
