//! The paper's case study in numbers: of items whose titles are alike, how many part in their codes, by what the codes
//! were made from.
//!
//! A pair is an item and the one whose title is nearest by TF-IDF. What should part are pairs whose photos, by their
//! captions, differ; what should stay together are pairs whose captions are alike. Random pairs are the base line: codes
//! that part everything tell nothing.

mod evidence;
mod similar;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sidql::{Database, Value};
use sidql_bench::{Report, Result, Samples};

use evidence::Evidence;
use similar::{Bags, Pair};

/// The least cosine of texts that are alike.
const ALIKE: f64 = 0.5;
/// Codes of each level.
const SIZES: [usize; 2] = [32, 256];
/// Items for each code of a level, at the least.
const LEAST_ITEMS: usize = 4;
/// Levels of a SID.
const LEVELS: usize = 3;
/// Seeds of the codebooks.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=5;
/// Random pairs, and their seed.
const RANDOM: usize = 10_000;
const RANDOM_SEED: u64 = 20_261;

fn main() -> Result {
    let mut report = Report::from_args()?;
    report.say("industrial_mm: 1,204 items with captions of their photos, vectors by MiniLM (256 tokens of a text)");
    let evidence = Evidence::new(&report)?;
    let groups = groups(&report, &evidence);
    let coded = evidence.places.iter().flatten().count();
    let mut sizes = SIZES.to_vec();
    sizes.retain(|codes| codes * LEAST_ITEMS <= coded);
    if sizes.is_empty() {
        sizes.push((coded / LEAST_ITEMS).max(2));
    }
    report.say(format!("items with codes: {coded}"));
    for codes in sizes {
        let mut shares = Vec::new();
        for (space, made_from, _) in &evidence.spaces {
            shares.push((*made_from, parted(&evidence.db, space, codes, &groups)?));
        }
        for (at, group) in groups.iter().enumerate() {
            let rows: Vec<Vec<String>> =
                shares.iter().map(|(made_from, shares)| row(made_from, &shares[at])).collect();
            let title = format!(
                "{LEVELS} x {codes} codes: share of {} pairs that part, {}",
                group.pairs.len(),
                group.name
            );
            let columns = ["made from", "at level 1", "±", "by level 2", "±", "by level 3", "±"];
            report.table(&title, &columns, &rows)?;
        }
    }
    Ok(())
}

/// Pairs of items that have something in common.
struct Group {
    name: &'static str,
    pairs: Vec<(usize, usize)>,
}

/// The pairs that are looked at.
fn groups(report: &Report, evidence: &Evidence) -> Vec<Group> {
    let (titles, captions) = (Bags::new(&evidence.titles), Bags::new(&evidence.captions));
    // Neighbours are those of the whole catalogue; pairs are looked at where both have codes.
    let coded = |pair: &Pair| Some((evidence.places[pair.first]?, evidence.places[pair.second]?));
    let places = |pairs: &[Pair]| pairs.iter().filter_map(coded).collect();
    let mut alike = titles.nearest(ALIKE);
    alike.retain(|pair| coded(pair).is_some());
    let photos = |pair: &Pair| captions.cosine(pair.first, pair.second);
    let middle = Samples::new(alike.iter().map(photos).collect()).median();
    let (same, other): (Vec<Pair>, Vec<Pair>) =
        alike.iter().partition(|pair| photos(pair) >= middle);
    let mut hidden = captions.nearest(ALIKE);
    hidden.retain(|pair| titles.cosine(pair.first, pair.second) < ALIKE);
    let mut random = ChaCha8Rng::seed_from_u64(RANDOM_SEED);
    let count = evidence.places.iter().flatten().count();
    let drawn =
        std::iter::repeat_with(|| (random.random_range(0..count), random.random_range(0..count)));
    let drawn = drawn.filter(|(first, second)| first != second).take(RANDOM).collect();
    let identical = alike.iter().filter(|pair| pair.cosine > 1.0 - 1e-9).count();
    report.say(format!(
        "alike: the nearest neighbour by TF-IDF with a cosine of {ALIKE} or more; {} pairs by title, {identical} of them \
         of the same words; half of them have captions with a cosine below {middle:.3}",
        alike.len(),
    ));
    let mut groups = vec![
        Group { name: "titles alike", pairs: places(&alike) },
        Group {
            name: "titles alike, captions less alike than in half of them",
            pairs: places(&other),
        },
        Group { name: "titles alike, captions more alike", pairs: places(&same) },
        Group { name: "captions alike and titles not", pairs: places(&hidden) },
        Group { name: "drawn at random", pairs: drawn },
    ];
    groups.retain(|group| !group.pairs.is_empty());
    groups
}

/// The shares of pairs that part at each level, by group: one for each seed.
fn parted(
    db: &Database,
    space: &str,
    codes: usize,
    groups: &[Group],
) -> Result<Vec<[Vec<f64>; LEVELS]>> {
    let mut shares: Vec<[Vec<f64>; LEVELS]> = groups.iter().map(|_| Default::default()).collect();
    for seed in SEEDS {
        // With `allow` no item is moved to another code than that of its vector.
        let options =
            format!("levels = {LEVELS}, codes = {codes}, seed = {seed}, collisions = 'allow'");
        db.execute(&format!("CREATE CODEBOOK c USING rq_kmeans ON {space} WITH ({options})"), ())?;
        db.execute("REBUILD CODEBOOK c", ())?;
        let sids = db.query("SELECT sid FROM items", ())?.into_iter().map(|row| match &row[0] {
            Value::Sid(sid) if sid.codes().len() == LEVELS => Ok(sid.codes().to_vec()),
            other => Err(format!("`{other}` where a SID of {LEVELS} levels should be").into()),
        });
        let sids: Vec<Vec<u16>> = sids.collect::<Result<_>>()?;
        db.execute("DROP CODEBOOK c", ())?;
        for (group, shares) in groups.iter().zip(&mut shares) {
            for (level, shares) in shares.iter_mut().enumerate() {
                let part = |(first, second): &&(usize, usize)| {
                    sids[*first][..=level] != sids[*second][..=level]
                };
                let parted = group.pairs.iter().filter(part).count();
                shares.push(parted as f64 / group.pairs.len() as f64);
            }
        }
    }
    Ok(shares)
}

/// The mean of the seeds and their deviation, level by level.
fn row(made_from: &str, shares: &[Vec<f64>; LEVELS]) -> Vec<String> {
    let cells = shares.iter().flat_map(|shares| {
        let shares = Samples::new(shares.clone());
        [format!("{:.3}", shares.mean()), format!("{:.3}", shares.deviation())]
    });
    std::iter::once(made_from.to_owned()).chain(cells).collect()
}
