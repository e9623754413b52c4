//! The two closed-form scorers: formulas and saved state.

#![allow(clippy::unwrap_used, reason = "tests")]

use candle_core::Device;
use serde_json::{Value as Json, json};

use super::super::{Kind, popular};
use super::*;
use crate::error::Kind as Remedy;

fn catalogue(items: &[u64]) -> Catalogue {
    Catalogue::new(items.to_vec(), Vec::new(), Vec::new())
}

fn scorer(kind: &Kind, given: &Json, catalogue: &Catalogue) -> Box<dyn Fit> {
    let mut config = (kind.config)(&[]).unwrap();
    config.extend(given.as_object().unwrap().clone());
    match (kind.build)(&Json::Object(config), &catalogue.into(), &Device::Cpu, 0).unwrap() {
        Policy::Score(score) => score,
        _ => panic!("{} is no scorer", kind.name),
    }
}

fn scores(score: &dyn Fit, items: usize, history: &[u32]) -> Vec<f32> {
    let mut scores = vec![0.0; items];
    score.score(history, &mut scores).unwrap();
    scores
}

fn close(got: &[f32], expected: &[f32]) {
    let near = got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(near && got.len() == expected.len(), "{got:?} is not {expected:?}");
}

#[test]
fn links_are_weighted_by_gap_direction_and_popularity() {
    let catalogue = catalogue(&[1, 2, 3, 4]);
    let mut graph = scorer(&KIND, &json!({"alpha": 0.5, "decay": 0.5}), &catalogue);
    let histories = [vec![0, 1, 2], vec![0, 1], vec![0, 0]];
    graph.fit(&catalogue, &histories, &Progress::silent()).unwrap();
    // Popularity: 4, 2, 1, 0. Links: 0 -> 1 twice at gap 1, 0 -> 2 at gap 2, 1 -> 2 at gap 1.
    let root = |a: f32, b: f32| (a * b).sqrt();
    let (zero_one, zero_two) = (2.0 / root(4.0, 2.0), 0.5 / root(4.0, 1.0));
    let (one_zero, one_two) = (1.0 / root(4.0, 2.0), 1.0 / root(2.0, 1.0));
    close(&scores(&*graph, 4, &[0]), &[0.0, zero_one, zero_two, 0.0]);
    close(&scores(&*graph, 4, &[0, 1]), &[one_zero, 0.5 * zero_one, one_two + 0.5 * zero_two, 0.0]);
    close(&scores(&*graph, 4, &[]), &[0.0; 4]);
}

#[test]
fn window_and_history_cut_the_past() {
    let catalogue = catalogue(&[1, 2, 3]);
    let given = json!({"alpha": 0.0, "window": 1, "history": 1});
    let mut graph = scorer(&KIND, &given, &catalogue);
    graph.fit(&catalogue, &[vec![0, 1, 2]], &Progress::silent()).unwrap();
    close(&scores(&*graph, 3, &[0]), &[0.0, 1.0, 0.0]);
    close(&scores(&*graph, 3, &[0, 2]), &[0.0, 0.5, 0.0]);
}

#[test]
fn popular_counts_the_same_for_everybody() {
    let catalogue = catalogue(&[1, 2, 3]);
    let mut popular = scorer(&popular::KIND, &json!({}), &catalogue);
    popular.fit(&catalogue, &[vec![2, 1], vec![2]], &Progress::silent()).unwrap();
    close(&scores(&*popular, 3, &[]), &[0.0, 1.0, 2.0]);
    close(&scores(&*popular, 3, &[2]), &[0.0, 1.0, 2.0]);
}

#[test]
fn saved_state_survives_items_that_come_and_go() {
    let (before, after) = (catalogue(&[1, 2, 3, 4]), catalogue(&[1, 3, 4, 5]));
    for kind in [&KIND, &popular::KIND] {
        let mut fitted = scorer(kind, &json!({}), &before);
        let histories = [vec![0, 1, 2, 3], vec![2, 3, 0]];
        fitted.fit(&before, &histories, &Progress::silent()).unwrap();
        let state = fitted.save(&before).unwrap();

        let mut same = scorer(kind, &json!({}), &before);
        same.load(&before, &state).unwrap();
        assert_eq!(scores(&*same, 4, &[0, 2]), scores(&*fitted, 4, &[0, 2]));
        assert_eq!(same.save(&before).unwrap(), state);

        let mut moved = scorer(kind, &json!({}), &after);
        moved.load(&after, &state).unwrap();
        let old = scores(&*fitted, 4, &[0, 2]);
        close(&scores(&*moved, 4, &[0, 1]), &[old[0], old[2], old[3], 0.0]);
        assert_eq!(scores(&*moved, 4, &[3])[3], 0.0);

        for cut in 0..state.len() {
            let error = moved.load(&after, &state[..cut]).unwrap_err();
            assert_eq!(error.kind(), Remedy::Restore);
        }
    }
}

#[test]
fn an_untrained_scorer_gives_nothing_and_can_be_saved() {
    let catalogue = catalogue(&[1, 2]);
    for kind in [&KIND, &popular::KIND] {
        let untrained = scorer(kind, &json!({}), &catalogue);
        assert_eq!(scores(&*untrained, 2, &[0]), [0.0, 0.0]);
        let mut loaded = scorer(kind, &json!({}), &catalogue);
        loaded.load(&catalogue, &untrained.save(&catalogue).unwrap()).unwrap();
        assert_eq!(scores(&*loaded, 2, &[0]), [0.0, 0.0]);
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let catalogue = catalogue(&[1]);
    for (name, value) in [("alpha", json!(2)), ("decay", json!(0)), ("window", json!(0))] {
        let mut config = (KIND.config)(&[]).unwrap();
        config.insert(name.to_owned(), value);
        let built = (KIND.build)(&Json::Object(config), &(&catalogue).into(), &Device::Cpu, 0);
        assert!(built.err().unwrap().message().contains(name));
    }
}
