//! Predicates over SIDs as sets of code ranges, so that an index leads to the rows: the posting lists to items, the
//! tree to its nodes.

use sidql_grammar::ast::{Level, SidPattern};
use sidql_storage::reach::SidRange;
use sidql_storage::{Generation, GenerationNo, View, generations, sids};

use super::expr::{Comparison, Expr};
use super::scope::Source;
use crate::error::Result;
use crate::value::{Sid, Value};

/// More ranges than this are not combined with those of another condition.
const MOST_RANGES: usize = 1024;
/// Ranges that are counted to estimate how many rows they hold, and that `EXPLAIN` names.
const LOOKED_AT: usize = 64;

/// SIDs of one generation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reach {
    /// The codebook, for `EXPLAIN`.
    pub(crate) codebook: String,
    /// The generation.
    pub(crate) generation: GenerationNo,
    /// The number of codes of each level.
    pub(crate) sizes: Vec<u32>,
    /// The SIDs: in any of these.
    pub(crate) ranges: Vec<SidRange>,
    /// Whether the conditions say no more than this.
    pub(crate) exact: bool,
}

impl Reach {
    /// Every SID of a generation.
    pub(crate) fn all(generation: &Generation) -> Self {
        Reach {
            codebook: generation.codebook.clone(),
            generation: generation.number,
            sizes: generation.sizes.clone(),
            ranges: vec![SidRange::default()],
            exact: true,
        }
    }

    /// What a condition on the SID of an item reaches, if an index leads there.
    pub(crate) fn of(view: &dyn View, sources: &[Source], term: &Expr) -> Result<Option<Reach>> {
        let (sid, of) = match term {
            Expr::Under { sid, .. } | Expr::Order { sid, .. } => cut(sid),
            _ => return Ok(None),
        };
        let Expr::Source(at) = sid else { return Ok(None) };
        let Source::Sid(number) = sources[*at] else { return Ok(None) };
        let Some(generation) = generations::get(view, number)? else { return Ok(None) };
        let all = generation.sizes.len();
        let levels = of.map_or(all, |levels| levels.min(all));
        let ranges = match term {
            Expr::Under { patterns, whole, .. } => patterns
                .iter()
                .filter(|pattern| {
                    let asked = pattern.levels.len();
                    if *whole { asked == levels } else { asked <= levels }
                })
                .map(range_of)
                .collect(),
            Expr::Order { comparison, bound, .. } => ordered(*comparison, bound, levels),
            _ => Vec::new(),
        };
        let mut reach = Reach { ranges, ..Reach::all(&generation) };
        reach.settle();
        Ok(Some(reach))
    }

    /// What satisfies both.
    pub(crate) fn and(mut self, other: Reach) -> Reach {
        if self.ranges.len() * other.ranges.len() > MOST_RANGES {
            let mut fewer = if self.ranges.len() < other.ranges.len() { self } else { other };
            fewer.exact = false;
            return fewer;
        }
        let both = |one: &SidRange| -> Vec<SidRange> {
            other.ranges.iter().filter_map(|other| one.and(other)).collect()
        };
        self.ranges = self.ranges.iter().flat_map(both).collect();
        self.exact &= other.exact;
        self.settle();
        self
    }

    /// What satisfies either.
    pub(crate) fn or(mut self, other: Reach) -> Reach {
        self.ranges.extend(other.ranges);
        self.exact &= other.exact;
        self.settle();
        self
    }

    /// Sorts the ranges, cuts them to the codes that there are, and leaves out what lies in another one.
    fn settle(&mut self) {
        for range in &mut self.ranges {
            for ((_, to), size) in range.levels.iter_mut().zip(&self.sizes) {
                *to = (*to).min(u16::try_from(size.saturating_sub(1)).unwrap_or(u16::MAX));
            }
            // Every SID has all levels, so those at the end of which any code will do say nothing.
            let any = |level: usize, (from, to): (u16, u16)| {
                from == 0 && self.sizes.get(level).is_some_and(|size| u32::from(to) + 1 >= *size)
            };
            while let Some(last) = range.levels.last()
                && any(range.levels.len() - 1, *last)
            {
                range.levels.pop();
            }
        }
        self.ranges.retain(|range| range.levels.iter().all(|(from, to)| from <= to));
        self.ranges.sort();
        self.ranges.dedup_by(|longer, shorter| within(longer, shorter));
    }

    /// The prefixes, where it is nothing else.
    pub(crate) fn prefixes(&self) -> Option<Vec<Vec<u16>>> {
        let plain = |range: &SidRange| range.is_prefix() && !range.levels.is_empty();
        let all = !self.ranges.is_empty() && self.ranges.iter().all(plain);
        all.then(|| self.ranges.iter().map(SidRange::fixed).collect())
    }

    /// How many items it holds, about: what lies under the fixed codes, and of it the share of the codes that the levels
    /// below ask for.
    pub(crate) fn expected(&self, view: &dyn View) -> Result<u64> {
        let mut total = 0.0_f64;
        let share = |levels: &[(u16, u16)], from: usize| -> f64 {
            let of = |((from, to), size): (&(u16, u16), &u32)| {
                (f64::from(*to) - f64::from(*from) + 1.0) / f64::from((*size).max(1))
            };
            levels.iter().zip(&self.sizes).skip(from).map(of).product()
        };
        let items = generations::must(view, self.generation)?.items;
        for (at, range) in self.ranges.iter().enumerate() {
            let fixed = if at < LOOKED_AT { range.fixed() } else { Vec::new() };
            let under = if fixed.is_empty() {
                items
            } else {
                sids::count_under(view, self.generation, &fixed)?
            };
            total += under as f64 * share(&range.levels, fixed.len());
        }
        Ok((total.round() as u64).min(items))
    }

    /// The ranges as patterns.
    pub(crate) fn shown(&self) -> String {
        let level = |(at, (from, to)): (usize, &(u16, u16))| match (from, to) {
            (from, to) if from == to => Level::Code(*from),
            (0, to) if self.sizes.get(at).is_some_and(|size| u32::from(*to) + 1 >= *size) => {
                Level::Any
            }
            (from, to) => Level::Range(*from, *to),
        };
        let pattern = |range: &SidRange| {
            let levels = range.levels.iter().enumerate().map(level).collect();
            SidPattern { levels }.to_string()
        };
        let mut shown: Vec<String> = self.ranges.iter().take(LOOKED_AT).map(pattern).collect();
        if self.ranges.len() > LOOKED_AT {
            shown.push(format!("and {} more", self.ranges.len() - LOOKED_AT));
        }
        shown.join(", ")
    }
}

/// Nodes of a SID tree: in a range, at a depth.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Nodes {
    /// The codes of the node as far as it has them.
    pub(crate) range: SidRange,
    /// The least depth, from 1.
    pub(crate) least: usize,
    /// The greatest depth.
    pub(crate) most: usize,
}

impl Nodes {
    /// Every node.
    pub(crate) fn all() -> Self {
        Nodes { range: SidRange::default(), least: 1, most: usize::MAX }
    }

    /// The nodes that a condition on a row of `codes` can hold for; `prefix`, `parent` and `level` are the columns.
    fn of(sources: &[Source], term: &Expr) -> Vec<Nodes> {
        let column = |expr: &Expr, name: &str| {
            let Expr::Source(at) = expr else { return false };
            let Source::Column(at) = sources[*at] else { return false };
            super::relation::Relation::Codes.columns()[at].0 == name
        };
        match term {
            Expr::And(left, right) => both(&Nodes::of(sources, left), &Nodes::of(sources, right)),
            Expr::Or(left, right) => [Nodes::of(sources, left), Nodes::of(sources, right)].concat(),
            Expr::Under { sid, patterns, whole } if column(sid, "prefix") => {
                let nodes = |pattern: &SidPattern| {
                    let least = pattern.levels.len();
                    let most = if *whole { least } else { usize::MAX };
                    Nodes { range: range_of(pattern), least, most }
                };
                patterns.iter().map(nodes).collect()
            }
            Expr::Under { sid, patterns, whole } if column(sid, "parent") => {
                let nodes = |pattern: &SidPattern| {
                    let least = pattern.levels.len() + 1;
                    let most = if *whole { least } else { usize::MAX };
                    Nodes { range: range_of(pattern), least, most }
                };
                patterns.iter().map(nodes).collect()
            }
            Expr::Order { sid, comparison, bound } if column(sid, "prefix") => {
                let ranges = ordered(*comparison, bound, bound.levels());
                // A node above the bound is before it, so nodes are wanted as far as they could lead there.
                let before = matches!(comparison, Comparison::Lt | Comparison::Le);
                let above = before.then(|| SidRange::under(bound.codes()));
                let nodes = |range| Nodes { range, ..Nodes::all() };
                ranges.into_iter().chain(above).map(nodes).collect()
            }
            // The ancestors of a SID.
            Expr::Call(function, args) if function.name == "is_under" => match args.as_slice() {
                [Expr::Const(Value::Sid(sid)), above] if column(above, "prefix") => {
                    let range = SidRange::under(sid.codes());
                    vec![Nodes { range, least: 1, most: sid.levels() }]
                }
                _ => vec![Nodes::all()],
            },
            Expr::Compare(comparison, left, right) => match (&**left, &**right) {
                (level, Expr::Const(Value::Int(depth))) if column(level, "level") => {
                    at_depth(*comparison, *depth)
                }
                _ => vec![Nodes::all()],
            },
            Expr::IsNull(of) if column(of, "parent") => {
                vec![Nodes { least: 1, most: 1, ..Nodes::all() }]
            }
            _ => vec![Nodes::all()],
        }
    }

    /// The nodes that a condition can hold for, of a tree with so many codes at each level.
    pub(crate) fn within(sources: &[Source], filter: &Expr, sizes: &[u32]) -> Vec<Nodes> {
        let mut all = Nodes::of(sources, filter);
        for nodes in &mut all {
            for ((from, to), size) in nodes.range.levels.iter_mut().zip(sizes) {
                let last = u16::try_from(size.saturating_sub(1)).unwrap_or(u16::MAX);
                // A code that there is none of keeps the nodes above it.
                *to = (*to).min(last).max(*from);
            }
        }
        all.sort();
        all.dedup();
        all
    }

    /// Whether the node of these codes is one of them.
    pub(crate) fn holds(&self, codes: &[u16]) -> bool {
        (self.least..=self.most).contains(&codes.len()) && self.range.admits(codes)
    }

    /// Whether one of them may lie below this node, or be it.
    pub(crate) fn admits(&self, codes: &[u16]) -> bool {
        codes.len() <= self.most && self.range.admits(codes)
    }
}

/// The depths that a comparison of `level` allows.
fn at_depth(comparison: Comparison, depth: i64) -> Vec<Nodes> {
    let depth = usize::try_from(depth.max(0)).unwrap_or(usize::MAX);
    let (least, most) = match comparison {
        Comparison::Eq => (depth, depth),
        Comparison::Ne => (1, usize::MAX),
        Comparison::Lt => (1, depth.saturating_sub(1)),
        Comparison::Le => (1, depth),
        Comparison::Gt => (depth.saturating_add(1), usize::MAX),
        Comparison::Ge => (depth, usize::MAX),
    };
    // The root is above the first level and no node of the relation.
    vec![Nodes { least: least.max(1), most, ..Nodes::all() }]
}

/// The nodes that are in both.
fn both(left: &[Nodes], right: &[Nodes]) -> Vec<Nodes> {
    if left.len() * right.len() > MOST_RANGES {
        return if left.len() < right.len() { left.to_vec() } else { right.to_vec() };
    }
    let shared = |(one, other): (&Nodes, &Nodes)| {
        let range = one.range.and(&other.range)?;
        let (least, most) = (one.least.max(other.least), one.most.min(other.most));
        (least <= most).then_some(Nodes { range, least, most })
    };
    left.iter()
        .flat_map(|one| right.iter().map(move |other| (one, other)))
        .filter_map(shared)
        .collect()
}

/// The SID below any `prefix(…, n)`, and the fewest levels that it is cut to.
fn cut(expr: &Expr) -> (&Expr, Option<usize>) {
    match expr {
        Expr::Prefix(inner, levels) => {
            let (sid, below) = cut(inner);
            (sid, Some(below.map_or(*levels, |below| below.min(*levels))))
        }
        sid => (sid, None),
    }
}

fn range_of(pattern: &SidPattern) -> SidRange {
    SidRange { levels: pattern.levels.iter().map(|level| level.bounds()).collect() }
}

/// SIDs of so many levels that stand so to a bound: at each level of it those that leave its codes there to one side.
fn ordered(comparison: Comparison, bound: &Sid, levels: usize) -> Vec<SidRange> {
    let cut = &bound.codes()[..levels.min(bound.levels())];
    // A SID that ends above the bound is before it.
    let ends_above = cut.len() < bound.levels();
    let (before, with_bound) = match comparison {
        Comparison::Lt => (true, ends_above),
        Comparison::Le => (true, true),
        Comparison::Ge => (false, !ends_above),
        _ => (false, false),
    };
    let mut ranges = Vec::new();
    for (level, code) in cut.iter().enumerate() {
        let here = with_bound && level + 1 == cut.len();
        let side = match (before, here) {
            (true, true) => Some((0, *code)),
            (true, false) => code.checked_sub(1).map(|last| (0, last)),
            (false, true) => Some((*code, u16::MAX)),
            (false, false) => code.checked_add(1).map(|first| (first, u16::MAX)),
        };
        if let Some(side) = side {
            let mut range = SidRange::under(&cut[..level]);
            range.levels.push(side);
            ranges.push(range);
        }
    }
    ranges
}

/// Whether one range lies in another.
fn within(inner: &SidRange, outer: &SidRange) -> bool {
    outer.levels.len() <= inner.levels.len()
        && outer.levels.iter().zip(&inner.levels).all(|(o, i)| o.0 <= i.0 && i.1 <= o.1)
}
