//! A plan as an indented tree, in the words of the language.

use sidql_grammar::ast::{Level, SidPattern};
use sidql_storage::Generation;

use super::Plan;
use super::expr::Expr;
use super::near::Target;
use super::reach::Nodes;
use super::recommend::{History, Recommend};
use super::search::{Index, Search};
use super::select::{Access, Select};
use crate::count::counted;
use crate::decode::Decode;
use crate::enrich::image::Reference;
use crate::index::sid::Effort;
use crate::kind;
use crate::policy::{Answers, KINDS};
use crate::value::{Sid, Value};

/// The lines of a plan.
pub(crate) fn lines(plan: &Plan) -> Vec<String> {
    match plan {
        Plan::Select(select) => select_lines(select),
        Plan::Update(update) => under("update items", select_lines(&update.select)),
        Plan::Delete(delete) => under(
            &format!("delete from {}", delete.select.relation.name()),
            select_lines(&delete.select),
        ),
        Plan::Export(export) => {
            under(&format!("write {}", export.file), select_lines(&export.select))
        }
        Plan::ExportCodes(export) => {
            let Generation { codebook, ordinal, .. } = &export.generation;
            vec![format!("write {}: sids of {codebook}, generation {ordinal}", export.file)]
        }
        Plan::Recommend(recommend) => recommend_lines(recommend),
        Plan::Import { spec, .. } => {
            vec![format!("job import: {}", spec.file.display())]
        }
        Plan::Enrich(enrich) => {
            let by = enrich.spec.model.as_deref().map_or(String::new(), |by| format!(" by {by}"));
            let head = format!("job enrich: {}{by}", enrich.spec.stage);
            enrich.only.as_ref().map_or(vec![head.clone()], |only| under(&head, select_lines(only)))
        }
        Plan::Launch { spec, .. } => vec![format!("job {}: {}", spec.kind, spec.json)],
        Plan::Explain { plan, .. } => lines(plan),
        _ => vec!["one step".to_owned()],
    }
}

fn under(head: &str, below: Vec<String>) -> Vec<String> {
    let mut lines = vec![head.to_owned()];
    lines.extend(below.into_iter().map(|line| format!("  {line}")));
    lines
}

/// How a NEAR searches, and why so.
fn searched(search: &Search) -> String {
    let by = match &search.by {
        Index::Flat => "flat, exact".to_owned(),
        Index::Sid { codebook, effort, .. } => {
            let Effort { nprobe, rerank, .. } = effort;
            format!("index sid of {codebook}, approximate: nprobe {nprobe}, rerank {rerank}")
        }
        Index::Built { index, .. } => {
            format!("index {} of kind {}, approximate", index.name, index.kind)
        }
    };
    if search.said { by } else { format!("{by}; {}", search.why) }
}

fn select_lines(select: &Select) -> Vec<String> {
    let mut lines = vec![access_line(select)];
    let mut push = |head: String| lines = under(&head, std::mem::take(&mut lines));
    if let Some(filter) = &select.filter {
        push(format!("filter: {}", Shown(filter, &select.labels)));
    }
    if let Some(near) = &select.near {
        let target = match &near.target {
            Target::Item(id) => format!("item '{id}'"),
            Target::Vector(vector) => format!("a vector of {}", vector.len()),
            Target::Text(text) => format!("text '{text}'"),
            Target::Photo(Reference::Bytes(bytes)) => format!("a photo of {} bytes", bytes.len()),
            Target::Photo(Reference::File(path)) => format!("photo '{}'", path.display()),
            Target::Photo(Reference::Url(url)) => format!("photo '{url}'"),
            Target::Sid { sid, .. } => format!("sid {sid}"),
        };
        let how = match &near.target {
            Target::Sid { .. } => "the tree first, then the codewords".to_owned(),
            _ => searched(&near.search),
        };
        push(format!("near {target} in {} ({how})", near.space.name));
    }
    if let Some(group) = &select.group {
        let (keys, aggregates) = (group.keys.len(), group.aggregates.len());
        let how = if group.counted.is_some() { ", counted by the posting lists" } else { "" };
        let (keys, aggregates) = (counted(keys, "key"), counted(aggregates, "aggregate"));
        push(format!("group: {keys}, {aggregates}{how}"));
    }
    if !select.order.is_empty() {
        push(format!("sort: {}", counted(select.order.len(), "key")));
    }
    let limit = select.limit.map(|limit| format!("limit {limit}"));
    let offset = (select.offset > 0).then(|| format!("offset {}", select.offset));
    let cut: Vec<String> = limit.into_iter().chain(offset).collect();
    if !cut.is_empty() {
        push(cut.join(" "));
    }
    lines
}

fn access_line(select: &Select) -> String {
    let rows = counted(select.expected as usize, "row");
    match &select.access {
        Access::Scan if select.expected == 0 => format!("scan {}", select.relation.name()),
        Access::Scan => format!("scan {}: {rows}", select.relation.name()),
        Access::Sids(reach) => format!("all sids in {}: {rows}", reach.codebook),
        Access::Reach(reach) if reach.ranges.is_empty() => {
            format!("no sid in {} can be so", reach.codebook)
        }
        Access::Reach(reach) => {
            let (codebook, shown) = (&reach.codebook, reach.shown());
            format!("skip through sids in {codebook} by {shown}: about {rows}")
        }
        Access::Tree { codebook, nodes, .. } if nodes.is_empty() => {
            format!("no node of the sid tree of {codebook} can be so")
        }
        Access::Tree { codebook, nodes, .. } => {
            let shown: Vec<String> = nodes.iter().map(nodes_line).collect();
            format!("sid tree of {codebook}: {}", shown.join("; "))
        }
        Access::Ids(ids) => format!("look up {} by id: {rows}", ids.join(", ")),
        Access::Prefixes { codebook, prefixes, .. } => {
            let shown: Vec<String> = prefixes
                .iter()
                .filter_map(|prefix| Sid::new(prefix).ok())
                .map(|sid| sid.to_string())
                .collect();
            format!("range of sids in {codebook} under {}: {rows}", shown.join(", "))
        }
    }
}

/// Nodes of the tree, in words.
fn nodes_line(nodes: &Nodes) -> String {
    let level = |level: &(u16, u16)| match *level {
        (from, to) if from == to => Level::Code(from),
        (0, u16::MAX) => Level::Any,
        (from, to) => Level::Range(from, to),
    };
    let pattern = SidPattern { levels: nodes.range.levels.iter().map(level).collect() };
    let under =
        if pattern.levels.is_empty() { "all nodes".to_owned() } else { pattern.to_string() };
    match (nodes.least, nodes.most) {
        (1, usize::MAX) => under,
        (least, usize::MAX) => format!("{under}, levels from {least}"),
        (least, most) if least == most => format!("{under}, level {least}"),
        (least, most) => format!("{under}, levels {least} to {most}"),
    }
}

fn recommend_lines(recommend: &Recommend) -> Vec<String> {
    let context = match &recommend.history {
        History::User(user) => format!("for user '{user}'"),
        History::Everybody => "for all users".to_owned(),
        History::Items(items) => format!("after {} items", items.len()),
    };
    let options = &recommend.options;
    let decode = match options.decode {
        Decode::Auto | Decode::Beam => format!("beam {}", options.beam.max(recommend.count)),
        Decode::Exact => "exact".to_owned(),
    };
    let mut also = if options.filter_seen { ", seen items left out" } else { "" }.to_owned();
    if let Some(variety) = &recommend.variety {
        let (most, length) = (variety.most, counted(variety.length, "code"));
        also += &format!(", at most {most} under a prefix of {length}");
    }
    if let (Some(field), Some((_, weight))) = (&options.boost, &recommend.boost) {
        also += &format!(", {weight} x {field} added to scores");
    }
    let policy = &recommend.policy;
    let answers = kind::find(KINDS, "policy kind", &policy.kind).map(|kind| kind.answers);
    let scores = match answers {
        Ok(Answers::Both) => options.decode != Decode::Beam,
        Ok(Answers::Scores) => true,
        Ok(Answers::Beams) | Err(_) => false,
    };
    let head = match recommend.spoken.as_deref().filter(|_| !scores) {
        Some(codebook) => format!(
            "recommend {} {context}: policy {} ({}), {decode} along the trie of {codebook}{also}",
            recommend.count, policy.name, policy.kind
        ),
        None => format!(
            "recommend {} {context}: policy {} ({}), every item scored{also}",
            recommend.count, policy.name, policy.kind
        ),
    };
    let lines = match &recommend.filter {
        None => vec![head],
        Some(filter) => under(&head, under("mask: only these items", select_lines(filter))),
    };
    match &recommend.into {
        None => lines,
        Some(file) => under(&format!("write {file}"), lines),
    }
}

/// An expression with its sources named.
struct Shown<'a>(&'a Expr, &'a [String]);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |expr| Shown(expr, self.1);
        match self.0 {
            Expr::Const(Value::Text(text)) => write!(f, "'{text}'"),
            Expr::Const(Value::Null) => f.write_str("null"),
            Expr::Const(value) => write!(f, "{value}"),
            Expr::Source(at) => f.write_str(self.1.get(*at).map_or("?", String::as_str)),
            Expr::Not(inner) => write!(f, "not ({})", show(inner)),
            Expr::Negate(inner) => write!(f, "-{}", show(inner)),
            Expr::And(l, r) => write!(f, "{} and {}", show(l), show(r)),
            Expr::Or(l, r) => write!(f, "({} or {})", show(l), show(r)),
            Expr::Compare(op, l, r) => write!(f, "{} {} {}", show(l), op.sign(), show(r)),
            Expr::Like(l, r) => write!(f, "{} like {}", show(l), show(r)),
            Expr::Contains(l, r) => write!(f, "{} contains {}", show(l), show(r)),
            Expr::In(expr, list) => write!(f, "{} in {} values", show(expr), list.len()),
            Expr::IsNull(inner) => write!(f, "{} is null", show(inner)),
            Expr::Under { sid, patterns, whole } => {
                let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
                let verb = if *whole { "is" } else { "under" };
                write!(f, "{} {verb} {}", show(sid), patterns.join(", "))
            }
            Expr::Order { sid, comparison, bound } => {
                write!(f, "{} {} {bound}", show(sid), comparison.sign())
            }
            Expr::Prefix(sid, levels) => write!(f, "prefix({}, {levels})", show(sid)),
            Expr::Call(function, args) => {
                let args: Vec<String> = args.iter().map(|arg| show(arg).to_string()).collect();
                write!(f, "{}({})", function.name, args.join(", "))
            }
        }
    }
}
