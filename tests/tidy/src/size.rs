//! Sizes: files of at most 500 lines without their tests, functions that fit a screen.

use crate::Complaint;
use crate::blank::{closing_brace, places};
use crate::tree::Source;

const FILE: usize = 500;
const FUNCTION: usize = 70;

/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// Functions that may be longer, as `file: name`, and why.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];

/// A file that is too long.
pub(crate) fn file(source: &Source) -> Option<Complaint> {
    let length = length_without_tests(source);
    let listed = LONG_FILES.iter().any(|(path, _)| *path == source.path);
    (length > FILE && !listed && !source.is_test()).then(|| {
        let message = format!("{length} lines without tests, over {FILE}: split it by noun");
        Complaint::at(source, 0, message)
    })
}

/// Lines outside test modules, blank lines and comments included.
fn length_without_tests(source: &Source) -> usize {
    let tests = source.text.find("#[cfg(test)]\nmod tests {");
    let Some(start) = tests else { return source.text.lines().count() };
    let open = source.text[start..].find('{').map_or(start, |at| start + at);
    let code = crate::blank::literals(&source.text);
    let end = closing_brace(&code, open);
    source.text[..start].lines().count() + source.text[end..].lines().skip(1).count()
}

/// Functions that are too long.
pub(crate) fn functions(source: &Source) -> Vec<Complaint> {
    if source.is_test() {
        return Vec::new();
    }
    bodies(source)
        .filter(|function| function.lines > FUNCTION)
        .filter(|function| !is_listed(source, function.name))
        .map(|Function { at, name, lines }| {
            let message = format!("`{name}` has {lines} lines, over {FUNCTION}: split it");
            Complaint::at(source, at, message)
        })
        .collect()
}

struct Function<'a> {
    at: usize,
    name: &'a str,
    lines: usize,
}

fn bodies(source: &Source) -> impl Iterator<Item = Function<'_>> {
    let code = source.code.as_str();
    places(code, "fn").filter_map(move |at| {
        let rest = code[at + 2..].trim_start();
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
        // `fn(` is a type.
        let name = (length > 0).then(|| &rest[..length])?;
        let open = at + code[at..].find(['{', ';'])?;
        let body = code.as_bytes()[open] == b'{';
        let end = if body { closing_brace(code, open) } else { open };
        let lines = code[at..=end.max(at)].matches('\n').count() + 1;
        Some(Function { at, name, lines })
    })
}

fn is_listed(source: &Source, name: &str) -> bool {
    let entry = format!("{}: {name}", source.path);
    LONG_FUNCTIONS.iter().any(|(known, _)| *known == entry)
}

/// Exceptions that nothing needs any more.
pub(crate) fn needless_exceptions(sources: &[Source]) -> Vec<Complaint> {
    let needless = |entry: &str| Complaint {
        path: "tests/tidy/src/size.rs".to_owned(),
        line: 1,
        message: format!("the exception for `{entry}` is no longer needed"),
    };
    let files = LONG_FILES.iter().filter(|(path, _)| {
        !sources.iter().any(|source| source.path == *path && length_without_tests(source) > FILE)
    });
    let functions = LONG_FUNCTIONS.iter().filter(|(entry, _)| {
        !sources.iter().any(|source| {
            bodies(source)
                .any(|f| f.lines > FUNCTION && format!("{}: {}", source.path, f.name) == *entry)
        })
    });
    files.chain(functions).map(|(entry, _)| needless(entry)).collect()
}
