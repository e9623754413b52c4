//! Expressions, each level of binding in a function of its own: OR, AND, NOT, comparisons, minus.

use nom::Parser;
use nom::combinator::{cut, opt};
use nom::sequence::{delimited, preceded};

use crate::ast::{Binary, Expr, Literal, Name};
use crate::error::{Expected, ParseError};
use crate::keyword;
use crate::parser::failure::Failure;
use crate::parser::pattern;
use crate::parser::primitive::{Parsed, keyword, list, literal, name, param, spanned, symbol};
use crate::span::{Span, Spanned};
use crate::token::{TokenKind, Tokens};

type Node = Spanned<Expr>;

/// An expression.
pub(crate) fn expr(input: Tokens<'_>) -> Parsed<'_, Node> {
    chain(input, "OR", Binary::Or, |input| chain(input, "AND", Binary::And, negation))
}

/// `a AND b AND c`, with the tree leaning to the left.
fn chain<'a>(
    input: Tokens<'a>,
    word: &'static str,
    op: Binary,
    operand: impl Fn(Tokens<'a>) -> Parsed<'a, Node>,
) -> Parsed<'a, Node> {
    let (mut rest, mut left) = operand(input)?;
    loop {
        let (behind, found) = opt(spanned(keyword(word))).parse(rest)?;
        let Some(found) = found else { return Ok((rest, left)) };
        rest.count_term()?;
        let right;
        (rest, right) = cut(&operand).parse(behind)?;
        let span = input.span_to(&rest);
        left = binary(left, Spanned::new(op, found.span), right, span);
    }
}

fn binary(left: Node, op: Spanned<Binary>, right: Node, span: Span) -> Node {
    Spanned::new(Expr::Binary { left: Box::new(left), op, right: Box::new(right) }, span)
}

/// `NOT e`
fn negation(input: Tokens<'_>) -> Parsed<'_, Node> {
    let Ok((inner, ())) = keyword("NOT")(input) else { return comparison(input) };
    let (rest, operand) = cut(negation).parse(inner.enter()?)?;
    let rest = rest.leave(&input);
    Ok((rest, Spanned::new(Expr::Not(Box::new(operand)), input.span_to(&rest))))
}

/// An operand, compared with something or alone.
fn comparison(input: Tokens<'_>) -> Parsed<'_, Node> {
    let (rest, left) = operand(input)?;
    if let Ok((behind, op)) = operator(rest) {
        let sid = left.node.holds_sid();
        let right = |input| if sid { sid_or(input, operand) } else { operand(input) };
        let (rest, right) = cut(right).parse(behind)?;
        return Ok((rest, binary(left, op, right, input.span_to(&rest))));
    }
    if let Ok((behind, ())) = keyword("IS")(rest) {
        let (rest, not) = opt(keyword("NOT")).parse(behind)?;
        let (rest, ()) = cut(keyword("NULL")).parse(rest)?;
        let node = Expr::IsNull { expr: Box::new(left), negated: not.is_some() };
        return Ok((rest, Spanned::new(node, input.span_to(&rest))));
    }
    let (behind, not) = opt(keyword("NOT")).parse(rest)?;
    let Some(word) = WORD_OPERATORS.iter().find(|word| behind.is_keyword(0, word)) else {
        for word in WORD_OPERATORS {
            behind.note(Expected::Keyword(word));
        }
        let failed = not.is_some().then(|| nom::Err::Failure(Failure::at(behind.at())));
        return failed.map_or(Ok((rest, left)), Err);
    };
    // `IN BACKGROUND` may follow an expression.
    if *word == "IN" && not.is_none() && !behind.is_symbol(1, "(") {
        behind.skip(1).note(Expected::Symbol("("));
        return Ok((rest, left));
    }
    word_operator(input, behind, left, not.is_some())
}

/// The comparisons that are words and may have `NOT` before them.
const WORD_OPERATORS: [&str; 4] = ["IN", "LIKE", "CONTAINS", "BETWEEN"];

/// `=` and its like
fn operator(input: Tokens<'_>) -> Parsed<'_, Spanned<Binary>> {
    let op = match input.peek() {
        Some(TokenKind::Symbol("=")) => Binary::Eq,
        Some(TokenKind::Symbol("!=" | "<>")) => Binary::Ne,
        Some(TokenKind::Symbol("<")) => Binary::Lt,
        Some(TokenKind::Symbol("<=")) => Binary::Le,
        Some(TokenKind::Symbol(">")) => Binary::Gt,
        Some(TokenKind::Symbol(">=")) => Binary::Ge,
        _ => return Err(input.fail(Expected::Operator)),
    };
    Ok((input.skip(1), Spanned::new(op, input.span())))
}

/// What one of [`WORD_OPERATORS`] begins.
fn word_operator<'a>(
    start: Tokens<'a>,
    input: Tokens<'a>,
    left: Node,
    negated: bool,
) -> Parsed<'a, Node> {
    if let Ok((rest, ())) = keyword("IN")(input) {
        return membership(start, rest, left, negated);
    }
    if let Ok((rest, op)) = spanned(keyword("LIKE"))(input) {
        let op = Spanned::new(if negated { Binary::NotLike } else { Binary::Like }, op.span);
        let (rest, right) = cut(operand).parse(rest)?;
        return Ok((rest, binary(left, op, right, start.span_to(&rest))));
    }
    if let Ok((rest, op)) = spanned(keyword("CONTAINS"))(input) {
        let op = Spanned::new(Binary::Contains, op.span);
        let (rest, right) = cut(operand).parse(rest)?;
        let span = start.span_to(&rest);
        let node = binary(left, op, right, span.clone());
        return Ok((rest, if negated { not(node) } else { node }));
    }
    let (rest, between) = spanned(keyword("BETWEEN"))(input)?;
    repeatable(&start, &left.node)?;
    start.count_term()?;
    let sid = left.node.holds_sid();
    let bound = |input| if sid { sid_or(input, operand) } else { operand(input) };
    let (rest, low) = cut(bound).parse(rest)?;
    let (rest, ()) = cut(keyword("AND")).parse(rest)?;
    let (rest, high) = cut(bound).parse(rest)?;
    let span = start.span_to(&rest);
    let at = |op| Spanned::new(op, between.span.clone());
    let above = binary(left.clone(), at(Binary::Ge), low, span.clone());
    let below = binary(left, at(Binary::Le), high, span.clone());
    let node = binary(above, at(Binary::And), below, span);
    Ok((rest, if negated { not(node) } else { node }))
}

fn not(node: Node) -> Node {
    let span = node.span.clone();
    Spanned::new(Expr::Not(Box::new(node)), span)
}

/// `IN (…)`
fn membership<'a>(
    start: Tokens<'a>,
    input: Tokens<'a>,
    left: Node,
    negated: bool,
) -> Parsed<'a, Node> {
    let sid = left.node.holds_sid();
    let item = |input| if sid { sid_or(input, expr) } else { expr(input) };
    let (rest, ()) = cut(symbol("(")).parse(input)?;
    let (rest, items) = cut(list(item)).parse(rest.enter()?)?;
    let (rest, ()) = cut(symbol(")")).parse(rest.leave(&start))?;
    let node = Expr::In { expr: Box::new(left), list: items, negated };
    Ok((rest, Spanned::new(node, start.span_to(&rest))))
}

/// `BETWEEN` repeats its left side, so that must be short and hold no parameter.
fn repeatable(start: &Tokens<'_>, left: &Expr) -> Result<(), nom::Err<Failure>> {
    let plain = |expr: &Expr| matches!(expr, Expr::Column(_) | Expr::Literal(_) | Expr::Star);
    let short = match left {
        Expr::Call { args, .. } => args.iter().all(|arg| plain(&arg.node)),
        left => plain(left),
    };
    if short {
        return Ok(());
    }
    let message = "BETWEEN needs a column or a function of columns before it".to_owned();
    let error = ParseError::syntax(start.span(), message, String::new());
    Err(start.stop(error.with_help("write two comparisons: x >= 1 AND x <= 2")))
}

/// Beside `prefix` and `sid`: a SID, or else what may stand anywhere.
fn sid_or<'a>(
    input: Tokens<'a>,
    other: impl Fn(Tokens<'a>) -> Parsed<'a, Node>,
) -> Parsed<'a, Node> {
    if pattern::starts(&input) {
        let (rest, sid) = pattern::sid(input, true)?;
        let node = Expr::Literal(Literal::Sid(sid));
        return Ok((rest, Spanned::new(node, input.span_to(&rest))));
    }
    input.note(Expected::Sid);
    other(input)
}

/// `-e`, or what binds tightest.
fn operand(input: Tokens<'_>) -> Parsed<'_, Node> {
    let number = matches!(input.ahead(1), Some(TokenKind::Int(_) | TokenKind::Float(_)));
    if !input.is_symbol(0, "-") || number {
        return primary(input);
    }
    let (rest, inner) = cut(operand).parse(input.skip(1).enter()?)?;
    let rest = rest.leave(&input);
    Ok((rest, Spanned::new(Expr::Negate(Box::new(inner)), input.span_to(&rest))))
}

/// A literal, a parameter, a column, a call, a SID or an expression in parentheses.
fn primary(input: Tokens<'_>) -> Parsed<'_, Node> {
    if pattern::starts_anywhere(&input) {
        let read = |input| pattern::sid(input, false);
        return spanned(read.map(|sid| Expr::Literal(Literal::Sid(sid))))(input);
    }
    match input.peek() {
        Some(TokenKind::Symbol("(")) => {
            let (rest, inner) = cut(expr).parse(input.skip(1).enter()?)?;
            let (rest, ()) = cut(symbol(")")).parse(rest.leave(&input))?;
            Ok((rest, inner))
        }
        Some(TokenKind::Positional(_) | TokenKind::Named(_)) => {
            spanned(param.map(Expr::Param))(input)
        }
        Some(TokenKind::Word(word)) if !keyword::is_reserved(word) => named(input),
        Some(TokenKind::Quoted(_)) => named(input),
        _ => {
            input.note(Expected::Column);
            input.note(Expected::Symbol("("));
            spanned(literal.map(Expr::Literal))(input)
        }
    }
}

/// A column, or a call of a function.
fn named(input: Tokens<'_>) -> Parsed<'_, Node> {
    let (rest, name) = name(Expected::Column)(input)?;
    if !rest.is_symbol(0, "(") {
        return Ok((rest, Spanned::new(Expr::Column(name.node), name.span)));
    }
    call(input, rest, name)
}

/// The arguments of a call.
fn call<'a>(start: Tokens<'a>, input: Tokens<'a>, name: Name) -> Parsed<'a, Node> {
    let (rest, args) =
        delimited(symbol("("), cut(preceded(no_distinct, opt(list(starred)))), cut(symbol(")")))
            .parse(input.enter()?)?;
    let rest = rest.leave(&start);
    let node = Expr::Call { name, args: args.unwrap_or_default() };
    Ok((rest, Spanned::new(node, start.span_to(&rest))))
}

/// An expression, or `*` alone.
pub(crate) fn starred(input: Tokens<'_>) -> Parsed<'_, Node> {
    if input.is_symbol(0, "*") && !input.is_symbol(1, ".") {
        return Ok((input.skip(1), Spanned::new(Expr::Star, input.span())));
    }
    input.note(Expected::Symbol("*"));
    expr(input)
}

/// Refuses `DISTINCT` by name, which would else be taken for a column.
pub(crate) fn no_distinct(input: Tokens<'_>) -> Parsed<'_, ()> {
    let follows = match input.ahead(1) {
        Some(TokenKind::Word(_)) if input.is_keyword(1, "BETWEEN") => false,
        Some(TokenKind::Word(word)) => !keyword::is_reserved(word),
        Some(TokenKind::Quoted(_) | TokenKind::Symbol("*")) => true,
        _ => false,
    };
    if !(input.is_keyword(0, "DISTINCT") && follows) {
        return Ok((input, ()));
    }
    let message = "DISTINCT is not supported".to_owned();
    let error = ParseError::syntax(input.span(), message, "`DISTINCT`".to_owned());
    Err(input.stop(error.with_help("name each value once with GROUP BY")))
}
