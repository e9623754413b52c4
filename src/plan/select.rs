//! SELECT: what each name means, and by which path the rows are reached.

use sidql_grammar::ast;
use sidql_grammar::span::Spanned;
use sidql_storage::{GenerationNo, View, items, sids};

use super::aggregate::{self, Aggregate};
use super::bind::Catalog;
use super::codes;
use super::expr::{Expr, condition, resolve};
use super::near::{self, Near};
use super::operand;
use super::reach::{Nodes, Reach};
use super::relation::Relation;
use super::scope::{Derived, Scope, Source};
use super::search;
use crate::error::{Error, Result};
use crate::value::Value;

/// How many rows NEAR gives without LIMIT.
pub(crate) const NEAR_LIMIT: usize = 10;

/// A resolved SELECT.
#[derive(Clone, Debug)]
pub(crate) struct Select {
    /// The relation.
    pub(crate) relation: Relation,
    /// What each row must bring; expressions of `filter`, `keys` and `aggregates` read it, and without
    /// grouping those of `columns` and `order` too.
    pub(crate) sources: Vec<Source>,
    /// What the sources are called, for `EXPLAIN`.
    pub(crate) labels: Vec<String>,
    /// The path to the rows.
    pub(crate) access: Access,
    /// What a row must satisfy.
    pub(crate) filter: Option<Expr>,
    /// The ranking by an embedding.
    pub(crate) near: Option<Near>,
    /// The grouping. With it, `columns` and `order` read a row of keys followed by aggregates.
    pub(crate) group: Option<Group>,
    /// The projection.
    pub(crate) columns: Vec<(String, Expr)>,
    /// The order: an expression, and whether it descends.
    pub(crate) order: Vec<(Expr, bool)>,
    /// At most this many rows.
    pub(crate) limit: Option<usize>,
    /// After leaving out this many.
    pub(crate) offset: usize,
    /// How many rows the access path is expected to read.
    pub(crate) expected: u64,
    /// Whether the path reaches no row that the filter refuses.
    pub(crate) covered: bool,
}

/// A path to rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Access {
    /// Every row.
    Scan,
    /// Items by id.
    Ids(Vec<String>),
    /// Items whose SIDs begin with one of these prefixes, none of which begins with another.
    Prefixes {
        /// The codebook, for `EXPLAIN`.
        codebook: String,
        /// The generation.
        generation: GenerationNo,
        /// The prefixes, ascending.
        prefixes: Vec<Vec<u16>>,
    },
    /// Items whose SIDs lie in ranges of codes.
    Reach(Reach),
    /// Every item, in the order of the SIDs of a generation; those without one come last.
    Sids(Reach),
    /// Nodes of the SID tree of a generation.
    Tree {
        /// The codebook, for `EXPLAIN`.
        codebook: String,
        /// The generation.
        generation: GenerationNo,
        /// Which nodes: any of these.
        nodes: Vec<Nodes>,
    },
}

/// Grouping.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The keys.
    pub(crate) keys: Vec<Expr>,
    /// The aggregates.
    pub(crate) aggregates: Vec<Aggregate>,
    /// Groups are prefixes of so many levels and only counted, so that the posting lists say it all.
    pub(crate) counted: Option<usize>,
}

/// Resolves a SELECT.
pub(crate) fn plan(catalog: &Catalog<'_>, select: &ast::Select) -> Result<Select> {
    let relation = Relation::find(&select.from.node).map_err(|e| e.at(select.from.span.clone()))?;
    let tree = codes::tree_of(catalog, relation, select)?;
    let near = select.near.as_ref().map(|near| near::plan(catalog, relation, near)).transpose()?;
    let mut scope = Scope::new(catalog, relation);
    if near.is_some() {
        scope = scope.with_score();
    }
    let filter = select.filter.as_ref().map(|f| condition(&mut scope, f)).transpose()?;
    let grouped = !select.group_by.is_empty()
        || select.columns.iter().any(|column| aggregate::occurs(&column.expr.node));
    let (group, columns, order) = if grouped {
        plan_grouped(&mut scope, select)?
    } else {
        let columns = plan_columns(&mut scope, select)?;
        let order = plan_order(&mut scope, select, &columns)?;
        (None, columns, order)
    };
    let limit = select.limit.as_ref().map(|n| operand::count(catalog, n, "LIMIT")).transpose()?;
    let offset =
        select.offset.as_ref().map(|n| operand::count(catalog, n, "OFFSET")).transpose()?;
    let limit = limit.or(near.as_ref().map(|_| NEAR_LIMIT));
    let mut plan = Select {
        limit,
        group,
        columns,
        order,
        offset: offset.unwrap_or(0),
        ..reached(catalog, scope, filter)?
    };
    match near {
        Some(mut near) => {
            let wanted = limit.unwrap_or(NEAR_LIMIT).saturating_add(plan.offset);
            near.search = search::plan(catalog, &near, &plan, &select.with, wanted)?;
            plan.near = Some(near);
        }
        None => search::no_options(&select.with)?,
    }
    if let Some(generation) = tree {
        let of = |filter| Nodes::within(&plan.sources, filter, &generation.sizes);
        let nodes = plan.filter.as_ref().map(of);
        let nodes = nodes.unwrap_or_else(|| vec![Nodes::all()]);
        let (codebook, generation) = (generation.codebook, generation.number);
        plan.access = Access::Tree { codebook, generation, nodes };
    }
    codes::by_postings(catalog.view, &mut plan)?;
    Ok(plan)
}

/// Resolves a predicate over items alone, with the path to the rows that satisfy it.
pub(crate) fn plan_filter(
    catalog: &Catalog<'_>,
    filter: Option<&Spanned<ast::Expr>>,
) -> Result<Select> {
    let mut scope = Scope::new(catalog, Relation::Items);
    let filter = filter.map(|f| condition(&mut scope, f)).transpose()?;
    reached(catalog, scope, filter)
}

/// Resolves a predicate over items in which `stale` is whether a derived value is missing or out of date.
pub(crate) fn plan_stale(
    catalog: &Catalog<'_>,
    filter: &Spanned<ast::Expr>,
    derived: Derived,
) -> Result<Select> {
    let mut scope = Scope::new(catalog, Relation::Items).with_stale(derived);
    let filter = condition(&mut scope, filter)?;
    reached(catalog, scope, Some(filter))
}

/// The rows that a filter accepts, with the path to them, and nothing done with them yet.
fn reached(catalog: &Catalog<'_>, scope: Scope<'_>, filter: Option<Expr>) -> Result<Select> {
    let relation = scope.relation();
    let (sources, labels) = scope.into_sources();
    let (access, covered) = access(catalog, relation, &sources, filter.as_ref())?;
    let expected = expected(catalog.view, relation, &access)?;
    Ok(Select {
        relation,
        sources,
        labels,
        access,
        filter,
        near: None,
        group: None,
        columns: Vec::new(),
        order: Vec::new(),
        limit: None,
        offset: 0,
        expected,
        covered,
    })
}

fn plan_columns(scope: &mut Scope<'_>, select: &ast::Select) -> Result<Vec<(String, Expr)>> {
    if select.columns.is_empty() {
        return scope.star();
    }
    let mut columns = Vec::new();
    for column in &select.columns {
        if column.expr.node == ast::Expr::Star {
            columns.extend(scope.star()?);
        } else {
            let (expr, _) = resolve(scope, &column.expr)?;
            columns.push((title(column), expr));
        }
    }
    Ok(columns)
}

/// The name of a result column: its alias, or the expression as it prints.
fn title(column: &ast::SelectColumn) -> String {
    match &column.alias {
        Some(alias) => alias.node.clone(),
        None => match &column.expr.node {
            // A name is printed quoted where it has to be typed so; the title is the bare name.
            ast::Expr::Column(name) => name.clone(),
            other => other.to_string(),
        },
    }
}

/// What an ORDER BY key refers to when it names a result column: its place.
fn ordinal(select: &ast::Select, key: &Spanned<ast::Expr>) -> Result<Option<usize>> {
    match &key.node {
        ast::Expr::Literal(ast::Literal::Int(int)) => {
            let at = usize::try_from(*int).unwrap_or(0);
            if at == 0 || at > select.columns.len().max(1) {
                let message = format!("there is no result column {int} to order by");
                return Err(Error::input("bad-order", message).at(key.span.clone()));
            }
            Ok(Some(at - 1))
        }
        ast::Expr::Column(name) => Ok(select.columns.iter().position(|column| {
            column.alias.as_ref().is_some_and(|alias| alias.node.eq_ignore_ascii_case(name))
        })),
        _ => Ok(None),
    }
}

fn plan_order(
    scope: &mut Scope<'_>,
    select: &ast::Select,
    columns: &[(String, Expr)],
) -> Result<Vec<(Expr, bool)>> {
    let mut order = Vec::new();
    for key in &select.order_by {
        let expr = match ordinal(select, &key.expr)?.and_then(|at| columns.get(at)) {
            Some((_, expr)) => expr.clone(),
            None => resolve(scope, &key.expr)?.0,
        };
        order.push((expr, key.descending));
    }
    Ok(order)
}

type Grouped = (Option<Group>, Vec<(String, Expr)>, Vec<(Expr, bool)>);

fn plan_grouped(scope: &mut Scope<'_>, select: &ast::Select) -> Result<Grouped> {
    let mut keys = Vec::new();
    for key in &select.group_by {
        keys.push(resolve(scope, key)?.0);
    }
    let mut grouping = Grouping { keys: &select.group_by, aggregates: Vec::new() };
    let mut columns = Vec::new();
    for column in &select.columns {
        columns.push((title(column), grouping.resolve(scope, &column.expr)?));
    }
    if select.columns.is_empty() {
        return Err(Error::input("bad-group", "GROUP BY needs a projection")
            .help("SELECT prefix(2), count(*) FROM items GROUP BY prefix(2)"));
    }
    let mut order = Vec::new();
    for key in &select.order_by {
        let expr = match ordinal(select, &key.expr)? {
            Some(at) => columns[at].1.clone(),
            None => grouping.resolve(scope, &key.expr)?,
        };
        order.push((expr, key.descending));
    }
    let group = Group { keys, aggregates: grouping.aggregates, counted: None };
    Ok((Some(group), columns, order))
}

/// Rewrites expressions over the rows into expressions over keys and aggregates.
struct Grouping<'a> {
    keys: &'a [Spanned<ast::Expr>],
    aggregates: Vec<Aggregate>,
}

impl Grouping<'_> {
    fn resolve(&mut self, scope: &mut Scope<'_>, expr: &Spanned<ast::Expr>) -> Result<Expr> {
        if let Some(at) = self.keys.iter().position(|key| key.node == expr.node) {
            return Ok(Expr::Source(at));
        }
        match &expr.node {
            ast::Expr::Call { name, args }
                if aggregate::is_aggregate(&name.node.to_lowercase()) =>
            {
                let (aggregate, _) = aggregate::resolve_aggregate(scope, name, args)?;
                let known = self.aggregates.iter().position(|one| *one == aggregate);
                let at = known.unwrap_or_else(|| {
                    self.aggregates.push(aggregate);
                    self.aggregates.len() - 1
                });
                Ok(Expr::Source(self.keys.len() + at))
            }
            ast::Expr::Call { name, args } => {
                let function = super::function::find(&name.node.to_lowercase())
                    .map_err(|_| Self::loose(expr))?;
                let args =
                    args.iter().map(|arg| self.resolve(scope, arg)).collect::<Result<_>>()?;
                Ok(Expr::Call(function, args))
            }
            ast::Expr::Negate(inner) => Ok(Expr::Negate(Box::new(self.resolve(scope, inner)?))),
            ast::Expr::Literal(_) | ast::Expr::Param(_) => Ok(resolve(scope, expr)?.0),
            _ => Err(Self::loose(expr)),
        }
    }

    fn loose(expr: &Spanned<ast::Expr>) -> Error {
        let message = format!("`{}` is neither grouped nor aggregated", expr.node);
        Error::input("bad-group", message)
            .help(format!("add it to GROUP BY, or take min({}) or max({})", expr.node, expr.node))
            .at(expr.span.clone())
    }
}

/// The cheapest path that reaches every row which the filter can accept, and whether it reaches no others.
fn access(
    catalog: &Catalog<'_>,
    relation: Relation,
    sources: &[Source],
    filter: Option<&Expr>,
) -> Result<(Access, bool)> {
    let (Some(filter), Relation::Items) = (filter, relation) else {
        return Ok((Access::Scan, filter.is_none()));
    };
    let mut terms = Vec::new();
    conjuncts(filter, &mut terms);
    // Conditions on the SIDs of one generation make one path.
    let mut paths: Vec<(Access, usize)> = Vec::new();
    for term in &terms {
        let Some(path) = path_of(catalog, sources, term)? else { continue };
        let same = paths.iter().position(|(known, _)| match (known, &path) {
            (Access::Reach(known), Access::Reach(path)) => known.generation == path.generation,
            _ => false,
        });
        match (same, path) {
            (Some(at), Access::Reach(more)) => {
                if let (Access::Reach(known), count) = paths.remove(at) {
                    paths.push((Access::Reach(known.and(more)), count + 1));
                }
            }
            (_, path) => paths.push((path, 1)),
        }
    }
    let mut best = (Access::Scan, false);
    let mut best_rows = expected(catalog.view, relation, &best.0)?;
    for (path, count) in paths {
        let (path, exact) = match path {
            Access::Reach(reach) => {
                let exact = reach.exact;
                (plain(reach), exact)
            }
            other => (other, true),
        };
        let rows = expected(catalog.view, relation, &path)?;
        // On equal terms an index still beats the scan: it reads what it needs and no more.
        if rows < best_rows || best.0 == Access::Scan {
            best_rows = rows;
            best = (path, exact && count == terms.len());
        }
    }
    Ok(best)
}

/// Prefixes alone are read without looking for what lies between them.
fn plain(reach: Reach) -> Access {
    match reach.prefixes() {
        Some(prefixes) => {
            let Reach { codebook, generation, .. } = reach;
            Access::Prefixes { codebook, generation, prefixes }
        }
        None => Access::Reach(reach),
    }
}

fn conjuncts<'e>(expr: &'e Expr, terms: &mut Vec<&'e Expr>) {
    if let Expr::And(left, right) = expr {
        conjuncts(left, terms);
        conjuncts(right, terms);
    } else {
        terms.push(expr);
    }
}

/// The path to what either of two paths reaches, if one index holds both.
fn either(left: Access, right: Access) -> Option<Access> {
    match (left, right) {
        (Access::Reach(left), Access::Reach(right)) if left.generation == right.generation => {
            Some(Access::Reach(left.or(right)))
        }
        (Access::Ids(mut all), Access::Ids(ids)) => {
            all.extend(ids);
            all.sort();
            all.dedup();
            Some(Access::Ids(all))
        }
        _ => None,
    }
}

/// The index path of one term, if it has one. Every row that satisfies the term lies on it.
fn path_of(catalog: &Catalog<'_>, sources: &[Source], term: &Expr) -> Result<Option<Access>> {
    let source = |expr: &Expr| match expr {
        Expr::Source(at) => Some(sources[*at]),
        _ => None,
    };
    let text = |expr: &Expr| match expr {
        Expr::Const(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    Ok(match term {
        Expr::Under { .. } | Expr::Order { .. } => {
            Reach::of(catalog.view, sources, term)?.map(Access::Reach)
        }
        Expr::And(left, right) => {
            match (path_of(catalog, sources, left)?, path_of(catalog, sources, right)?) {
                (Some(Access::Reach(left)), Some(Access::Reach(right)))
                    if left.generation == right.generation =>
                {
                    Some(Access::Reach(left.and(right)))
                }
                (Some(one), _) | (_, Some(one)) => Some(loosely(one)),
                _ => None,
            }
        }
        Expr::Or(left, right) => {
            match (path_of(catalog, sources, left)?, path_of(catalog, sources, right)?) {
                (Some(left), Some(right)) => either(left, right),
                _ => None,
            }
        }
        Expr::Compare(super::expr::Comparison::Eq, left, right) => {
            match (source(left), text(right), source(right), text(left)) {
                (Some(Source::Id), Some(id), _, _) | (_, _, Some(Source::Id), Some(id)) => {
                    Some(Access::Ids(vec![id]))
                }
                _ => None,
            }
        }
        Expr::In(expr, list) if source(expr) == Some(Source::Id) => {
            let mut ids: Option<Vec<String>> = list.iter().map(text).collect();
            if let Some(ids) = &mut ids {
                ids.sort();
                ids.dedup();
            }
            ids.map(Access::Ids)
        }
        _ => None,
    })
}

/// A path that reaches more than was asked for.
fn loosely(path: Access) -> Access {
    match path {
        Access::Reach(reach) => Access::Reach(Reach { exact: false, ..reach }),
        other => other,
    }
}

/// How many rows a path reads: exact for prefixes and ids, about right for ranges, the size of the
/// relation for a scan.
fn expected(view: &dyn View, relation: Relation, access: &Access) -> Result<u64> {
    Ok(match access {
        Access::Ids(ids) => ids.len() as u64,
        Access::Prefixes { generation, prefixes, .. } => {
            let mut rows = 0;
            for prefix in prefixes {
                rows += sids::count_under(view, *generation, prefix)?;
            }
            rows
        }
        Access::Reach(reach) => reach.expected(view)?,
        Access::Sids(_) | Access::Scan | Access::Tree { .. } => match relation {
            Relation::Items => items::count(view)?,
            Relation::Users => sidql_storage::users::count(view)?,
            Relation::Interactions => sidql_storage::histories::count(view)?,
            _ => 0,
        },
    })
}
