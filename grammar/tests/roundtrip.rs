//! Properties: what is printed parses to the same tree, and no text whatever does harm.

#![allow(clippy::unwrap_used, reason = "tests")]

mod trees;

use proptest::prelude::*;
use sidql_grammar::report::report;
use sidql_grammar::{
    MAX_DEPTH, MAX_STATEMENT_BYTES, MAX_TERMS, expected_at, is_complete, parse, parse_script,
    pattern, split,
};

/// Pieces that statements are made of, so that random texts come far into the parser.
const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS",
    "NULL",
    "LIKE",
    "BETWEEN",
    "GROUP",
    "ORDER",
    "BY",
    "LIMIT",
    "NEAR",
    "TEXT",
    "IMAGE",
    "USING",
    "WITH",
    "ON",
    "AS",
    "INSERT",
    "INTO",
    "UPDATE",
    "SET",
    "DELETE",
    "COPY",
    "TO",
    "CREATE",
    "CODEBOOK",
    "POLICY",
    "MODEL",
    "PROMPT",
    "RECOMMEND",
    "FOR",
    "USER",
    "AFTER",
    "EVALUATE",
    "COMPARE",
    "LABELS",
    "AT",
    "EXPLAIN",
    "SHOW",
    "STALE",
    "FAILURES",
    "DESCRIBE",
    "PREFIX",
    "JOB",
    "WAIT",
    "items",
    "price",
    "prefix",
    "sid",
    "a1",
    "b2",
    "c3",
    "a_1",
    "x",
    "'text'",
    "\"name\"",
    "7",
    "1.5",
    "?",
    "$p",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    ":",
    ";",
    "=",
    "!=",
    "<",
    ">",
    "-",
    "*",
    "'",
    "\"",
    "/*",
    "*/",
    "--",
    "\n",
    "é",
    "足",
    "\u{feff}",
    "\0",
];

/// Everything that takes a text, with the promises about places.
fn harmless(text: &str) {
    for error in [parse(text).err(), parse_script(text).err()].into_iter().flatten() {
        assert!(error.span.start <= error.span.end && error.span.end <= text.len(), "{error:?}");
        assert!(text.is_char_boundary(error.span.start) && text.is_char_boundary(error.span.end));
        assert!(!error.to_string().is_empty() && report(text, &error).contains('^'));
    }
    let mut last = 0;
    for span in split(text) {
        assert!(last <= span.start && span.start < span.end && span.end <= text.len());
        last = span.end;
    }
    if let Ok(statements) = parse_script(text) {
        let spans: Vec<_> = statements.into_iter().map(|statement| statement.span).collect();
        assert_eq!(spans, split(text));
    }
    is_complete(text);
    for offset in [0, text.len() / 2, text.len(), text.len() + 9] {
        expected_at(text, offset);
    }
    pattern::parse_sid(text);
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same_tree(tree in trees::statement()) {
        let text = tree.to_string();
        match parse(&text) {
            Ok(parsed) => prop_assert_eq!(parsed, tree, "{}", text),
            Err(error) => prop_assert!(false, "{}", report(&text, &error)),
        }
    }

    #[test]
    fn positional_parameters_survive(tree in trees::statement()) {
        let text = tree.to_string().replace("$p", "?");
        let parsed = parse(&text).unwrap();
        prop_assert_eq!(parsed.to_string(), text);
    }

    #[test]
    fn any_text_is_harmless(text in "\\PC{0,80}") {
        harmless(&text);
    }

    #[test]
    fn any_words_are_harmless(words in prop::collection::vec(prop::sample::select(WORDS), 0..40)) {
        harmless(&words.join(" "));
        harmless(&words.concat());
    }

    #[test]
    fn broken_statements_are_harmless(
        tree in trees::statement(),
        at in any::<prop::sample::Index>(),
        kind in 0..4,
        word in prop::sample::select(WORDS),
    ) {
        let text = tree.to_string();
        let letters: Vec<char> = text.chars().collect();
        let at = at.index(letters.len());
        let (before, behind) = letters.split_at(at);
        let before: String = before.iter().collect();
        let behind: String = behind[usize::from(kind > 1)..].iter().collect();
        match kind {
            0 => harmless(&before),
            1 | 2 => harmless(&format!("{before}{word}{behind}")),
            _ => harmless(&format!("{before}{behind}")),
        }
    }

    #[test]
    fn completion_offers_the_next_keyword(tree in trees::statement()) {
        // Every keyword of a printed statement is expected where it stands.
        let text = tree.to_string();
        let capital = |word: &str| word.bytes().all(|byte| byte.is_ascii_uppercase());
        for (at, word) in text.match_indices(' ').filter_map(|(at, _)| {
            let word = text[at + 1..].split(' ').next()?;
            (capital(word) && word.len() > 1).then_some((at + 1, word))
        }) {
            let expected = expected_at(&text, at);
            // Behind the first word of a query the clauses are offered, not the operators.
            let behind_first = text[..at - 1]
                .rsplit_once("SELECT ")
                .is_some_and(|(_, first)| first == "\"my name\"" || !first.contains(' '));
            if expected.is_empty() || behind_first {
                continue; // Empty within a text.
            }
            let known = sidql_grammar::keyword::find(word).is_some();
            let constant = ["TRUE", "FALSE", "NULL"].contains(&word);
            let offered = expected.iter().any(|one| one.to_string() == word);
            prop_assert!(offered || constant || !known, "{} at {} in {}", word, at, text);
        }
    }
}

#[test]
fn deep_statements_are_refused_and_others_not() {
    let nested = |depth: usize, open: &str, close: &str| {
        format!("SELECT items WHERE {}x{}", open.repeat(depth), close.repeat(depth))
    };
    for (open, close) in [("(", ")"), ("NOT ", ""), ("-", ""), ("f(", ")"), ("x IN (", ")")] {
        let spaced = if open == "-" { "- " } else { open };
        parse(&nested(MAX_DEPTH, spaced, close)).unwrap();
        for depth in [MAX_DEPTH + 1, 100_000] {
            let error = parse(&nested(depth, spaced, close)).unwrap_err();
            assert_eq!(error.code(), "too-deep", "{open} {error}");
        }
    }
    let list = |depth: usize| format!("SET x = {}1{}", "[".repeat(depth), "]".repeat(depth));
    parse(&list(MAX_DEPTH)).unwrap();
    assert_eq!(parse(&list(100_000)).unwrap_err().code(), "too-deep");
    assert_eq!(parse(&"EXPLAIN ".repeat(100_000)).unwrap_err().code(), "syntax");
}

#[test]
fn long_chains_are_refused_and_others_not() {
    let chain = |terms: usize| format!("SELECT items WHERE x{}", " OR x".repeat(terms));
    parse(&chain(MAX_TERMS)).unwrap();
    assert_eq!(parse(&chain(MAX_TERMS + 1)).unwrap_err().code(), "too-deep");
    let list = format!("SELECT items WHERE x IN (1{})", ", 1".repeat(100_000));
    parse(&list).unwrap();
}

#[test]
fn long_statements_are_refused() {
    let text = format!("SET x = '{}'", "y".repeat(MAX_STATEMENT_BYTES));
    assert_eq!(parse(&text).unwrap_err().code(), "statement-too-long");
    assert_eq!(parse_script(&text).unwrap_err().code(), "statement-too-long");
    let script = "SET x = 'y';\n".repeat(MAX_STATEMENT_BYTES / 10);
    assert!(parse_script(&script).is_ok(), "a script may be longer than a statement");
}

#[test]
fn the_shell_knows_when_a_statement_is_complete() {
    for text in ["", "  \n", "-- x", "SHOW JOBS;", "SHOW JOBS; -- x", "/* x */", ";"] {
        assert!(is_complete(text), "{text}");
    }
    for text in ["SHOW JOBS", "SELECT ';'", "SET x = ';", "/* ;", "SHOW JOBS -- ;", "\"a;"] {
        assert!(!is_complete(text), "{text}");
    }
}

#[test]
fn sids_are_read_from_plain_strings() {
    let sid = |text: &str| pattern::parse_sid(text).map(|sid| sid.to_string());
    for text in ["a1.b33.c192", "a1,b33,c192", "<a_1><b_33><c_192>", " A1 . b33 . c192 "] {
        assert_eq!(sid(text).as_deref(), Some("a1.b33.c192"), "{text}");
    }
    assert_eq!(sid("a1.*.c3").as_deref(), Some("a1.*.c3"));
    assert_eq!(sid("a65535").as_deref(), Some("a65535"));
    for text in ["", "a1.c3", "a65536", "b1", "a1.", "a1 b2", "a1;", "a1.b2;a1", "1.2", "'a1'"] {
        assert_eq!(sid(text), None, "{text}");
    }
    let deep: Vec<String> = (0..64).map(|level| format!("{}7", pattern::letters(level))).collect();
    assert_eq!(sid(&deep.join(".")).as_deref(), Some(deep.join(".").as_str()));
    assert!(pattern::read_sid("a1.c3").unwrap_err().message.contains("level 2"));
}
