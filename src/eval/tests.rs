//! Evaluation over small worlds, interrupted and resumed, and the reference figures on Beauty.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::RefCell;
use std::io::Read;

use candle_core::Device;
use serde_json::Value as Json;

use super::*;
use crate::policy::KINDS;
use crate::progress::Unsaved;

fn catalogue(items: usize) -> Catalogue {
    Catalogue::new((0..items as u64).collect(), Vec::new(), Vec::new())
}

fn fitted(name: &str, catalogue: &Catalogue, histories: &[Vec<u32>]) -> Policy {
    let kind = crate::kind::find(KINDS, "policy", name).unwrap();
    let config = Json::Object((kind.config)(&[]).unwrap());
    let mut policy = (kind.build)(&config, &catalogue.into(), &Device::Cpu, 0).unwrap();
    let part: Vec<Vec<u32>> = histories.iter().map(|h| training(h).to_vec()).collect();
    match &mut policy {
        Policy::Score(score) => score.fit(catalogue, &part, &Progress::silent()).unwrap(),
        _ => panic!("{name} is no scorer"),
    }
    policy
}

fn run(policy: &Policy, items: &Catalogue, histories: &[Vec<u32>], config: &Config) -> Report {
    let (progress, unsaved) = (Progress::silent(), Unsaved);
    evaluate(policy, items, None, histories, config, &progress, &unsaved).unwrap()
}

fn mean(report: &Report, column: &str) -> f64 {
    report.figure(column).unwrap().mean
}

/// Many short random histories.
fn many(users: u32, items: u32) -> Vec<Vec<u32>> {
    let next = |user: u32, nth: u32| (user * 7 + nth * nth * (user % 5 + 1)) % items;
    (0..users).map(|user| (0..2 + user % 6).map(|nth| next(user, nth)).collect()).collect()
}

#[test]
fn ties_give_no_free_hits() {
    // Nobody knows anything: of ten items two are filtered, so five of the other eight are shown.
    let histories = vec![vec![0, 1, 2], vec![7, 8, 9]];
    let catalogue = catalogue(10);
    let policy = fitted("item_graph", &catalogue, &[]);
    let mut config = Config::default();
    let report = run(&policy, &catalogue, &histories, &config);
    assert!((mean(&report, "hr@5") - 5.0 / 8.0).abs() < 1e-9);
    assert_eq!(mean(&report, "hr@10"), 1.0);
    assert_eq!(mean(&report, "hr@5"), mean(&report, "hr@5_sid"));
    config.filter_seen = false;
    let report = run(&policy, &catalogue, &histories, &config);
    assert!((mean(&report, "hr@5") - 0.5).abs() < 1e-9);
    assert!(!report.filter_seen);
}

#[test]
fn a_known_ranking_gets_its_figures() {
    // Popularity in the training parts is 3, 2, 1, 0, 1, 1; a short history is for training as a whole.
    let histories = vec![vec![0, 1, 2, 3], vec![1, 0, 3, 2], vec![0, 2, 3, 1], vec![4, 5]];
    let catalogue = catalogue(6);
    let policy = fitted("popular", &catalogue, &histories);
    let config = Config { at: vec![1], bootstrap: 0, ..Config::default() };
    let report = run(&policy, &catalogue, &histories, &config);
    assert_eq!((report.users, report.left_out), (3, 1));
    // Without what they have, the users are left with 3 behind 4 and 5, with 2 beside 4 and 5, and with 1 first.
    assert!((mean(&report, "hr@1") - (0.0 + 1.0 / 3.0 + 1.0) / 3.0).abs() < 1e-9);
    let validation = Config { split: Split::Validation, ..config };
    assert_eq!(run(&policy, &catalogue, &histories, &validation).split, "validation");
}

/// A slot that is due at every batch and asks to stop after a few saves.
struct Slot<'a> {
    state: RefCell<Option<Vec<u8>>>,
    left: RefCell<usize>,
    progress: &'a Progress,
}

impl Checkpoint for Slot<'_> {
    fn load(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.state.borrow().clone())
    }

    fn save(&self, state: &[u8]) -> Result<()> {
        *self.state.borrow_mut() = Some(state.to_vec());
        let left = self.left.borrow().saturating_sub(1);
        *self.left.borrow_mut() = left;
        if left == 0 {
            self.progress.stop();
        }
        Ok(())
    }

    fn due(&self) -> bool {
        true
    }
}

#[test]
fn an_interrupted_evaluation_goes_on() {
    let histories = many(100, 30);
    let catalogue = catalogue(30);
    let policy = fitted("item_graph", &catalogue, &histories);
    let config = Config { batch: 7, bootstrap: 20, ..Config::default() };
    let whole = run(&policy, &catalogue, &histories, &config);

    let mut state = None;
    let mut stops = 0;
    let resumed = loop {
        let progress = Progress::silent();
        let slot = Slot { state: RefCell::new(state), left: RefCell::new(3), progress: &progress };
        match evaluate(&policy, &catalogue, None, &histories, &config, &progress, &slot) {
            Ok(report) => break report,
            Err(error) => assert!(error.is_cancelled()),
        }
        stops += 1;
        assert!(stops < 20, "no progress from one stop to the next");
        state = slot.state.into_inner();
        assert!(state.is_some());
    };
    assert!(stops > 2);
    assert_eq!(resumed, whole);

    let other = Config { batch: 8, ..config };
    let slot = Slot {
        state: RefCell::new(Some(saved(
            &[],
            &stamp(&catalogue, &histories, &whole_config()).unwrap(),
        ))),
        left: RefCell::new(100),
        progress: &Progress::silent(),
    };
    let stale = evaluate(&policy, &catalogue, None, &histories, &other, slot.progress, &slot);
    assert_eq!(stale.unwrap_err().code(), "stale-checkpoint");
}

fn whole_config() -> Config {
    Config { batch: 7, bootstrap: 20, ..Config::default() }
}

#[test]
fn a_sample_is_seeded_and_counted() {
    let histories = many(300, 40);
    let catalogue = catalogue(40);
    let policy = fitted("popular", &catalogue, &histories);
    let sample = |seed| Config { users: Some(50), seed, bootstrap: 50, ..Config::default() };
    let report = run(&policy, &catalogue, &histories, &sample(1));
    assert_eq!((report.users, report.left_out, report.unsampled), (50, 50, 200));
    assert_eq!(report, run(&policy, &catalogue, &histories, &sample(1)));
    assert_ne!(report.figures, run(&policy, &catalogue, &histories, &sample(2)).figures);
    for figure in &report.figures {
        assert!(figure.low <= figure.mean && figure.mean <= figure.high, "{figure:?}");
    }
    assert!(report.figures.iter().any(|figure| figure.low < figure.high));
}

#[test]
fn intervals_narrow_with_the_number_of_users() {
    let catalogue = catalogue(40);
    let width = |users| {
        let histories = many(users, 40);
        let policy = fitted("popular", &catalogue, &histories);
        let report = run(&policy, &catalogue, &histories, &Config::default());
        let figure = report.figure("hr@10").unwrap();
        (figure.high - figure.low, figure.mean, report.users as f64)
    };
    let (narrow, mean, users) = width(3000);
    assert!(narrow < width(300).0);
    // Credits lie between 0 and 1, so their spread is at most that of a coin of the same mean.
    assert!(narrow < 2.2 * 1.96 * (mean * (1.0 - mean) / users).sqrt());
}

#[test]
fn bad_configurations_are_refused() {
    let catalogue = catalogue(5);
    let policy = fitted("popular", &catalogue, &[]);
    let code = |config: Config, histories: &[Vec<u32>]| {
        let (progress, unsaved) = (Progress::silent(), Unsaved);
        let result = evaluate(&policy, &catalogue, None, histories, &config, &progress, &unsaved);
        result.unwrap_err().code()
    };
    let histories = [vec![0, 1, 2]];
    let default = Config::default;
    assert_eq!(code(Config { at: Vec::new(), ..default() }, &histories), "bad-option");
    assert_eq!(code(Config { at: vec![0], ..default() }, &histories), "bad-option");
    assert_eq!(code(Config { beam: Some(1 << 20), ..default() }, &histories), "bad-option");
    assert_eq!(code(Config { batch: 0, ..default() }, &histories), "bad-option");
    assert_eq!(code(default(), &[vec![1]]), "no-users");
}

/// Amazon Beauty against the figures that were measured independently for the same formula (HR@5, HR@10,
/// NDCG@5, NDCG@10: .0618, .0829, .0454, .0522 with seen items filtered, .0566, .0771, .0404, .0470 without).
#[test]
#[ignore = "reads ../shared/data; run it with --nocapture"]
#[allow(clippy::print_stderr, reason = "a measurement")]
fn beauty_meets_the_reference() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/beauty/sequences.tsv.gz");
    let file = std::fs::File::open(path).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let items = |line: &str| {
        let items = line.split_once('\t').unwrap().1;
        items.split(' ').map(|item| item.parse().unwrap()).collect::<Vec<u32>>()
    };
    let histories: Vec<Vec<u32>> = text.lines().map(items).collect();
    let catalogue = catalogue(12_101);
    let expected = [
        ("item_graph", true, [0.0618, 0.0829, 0.0454, 0.0522]),
        ("item_graph", false, [0.0566, 0.0771, 0.0404, 0.0470]),
        ("popular", true, [0.0074, 0.0114, 0.0041, 0.0054]),
    ];
    for (name, filter_seen, figures) in expected {
        let begun = std::time::Instant::now();
        let policy = fitted(name, &catalogue, &histories);
        let fit = begun.elapsed();
        let config = Config { filter_seen, ..Config::default() };
        let report = run(&policy, &catalogue, &histories, &config);
        eprintln!("{name} filtered {filter_seen}: fit {fit:?}, all {:?}", begun.elapsed());
        for (column, expected) in ["hr@5", "hr@10", "ndcg@5", "ndcg@10"].iter().zip(figures) {
            let figure = report.figure(column).unwrap();
            eprintln!("  {column} {:.4} [{:.4}, {:.4}]", figure.mean, figure.low, figure.high);
            assert!((figure.mean - expected).abs() < 0.002, "{name} {column}");
        }
        assert_eq!((report.users, report.left_out), (22_363, 0));
    }
}
