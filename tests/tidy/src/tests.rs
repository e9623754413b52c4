//! Each rule against a planted violation, and the whole tree against all rules.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{blank, check};

/// A tree in a temporary folder that goes away with it.
struct House(PathBuf);

impl House {
    fn new(files: &[(&str, &str)]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("sidql-tidy-{}-{number}", process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        House(root)
    }

    fn complaints(&self) -> Vec<String> {
        check(&self.0).unwrap().iter().map(ToString::to_string).collect()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Asserts that the files break exactly one rule, in a complaint with these words.
fn breaks(files: &[(&str, &str)], words: &str) {
    let complaints = House::new(files).complaints();
    assert_eq!(complaints.len(), 1, "{complaints:#?}");
    assert!(complaints[0].contains(words), "{}", complaints[0]);
}

fn keeps(files: &[(&str, &str)]) {
    let complaints = House::new(files).complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn the_tree_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let complaints: Vec<_> = check(&root).unwrap().iter().map(ToString::to_string).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn imports_lead_downward() {
    keeps(&[(
        "src/exec/a.rs",
        "//! D.\nuse crate::plan::{a, b};\nuse crate::{error, value::Value};\n",
    )]);
    breaks(
        &[("src/nn/a.rs", "//! D.\nuse crate::error::Error;\nuse crate::policy::Kind;\n")],
        "src/nn/a.rs:3: `nn` imports `policy`, which stands above it (3 over 2)",
    );
    breaks(
        &[("src/nn/a.rs", "//! D.\nuse crate::{error::{Error, Result}, job::Queue};\n")],
        "`job`",
    );
    breaks(&[("src/nn/a.rs", "//! D.\nfn a() { crate::train::step() }\n")], "`train`");
    breaks(&[("src/nn/a.rs", "//! D.\nuse super::super::plan::Plan;\n")], "`plan`");
    breaks(&[("src/nn/mod.rs", "//! D.\nuse super::plan::Plan;\n")], "`plan`");
    breaks(&[("src/value.rs", "//! D.\nuse super::plan::Plan;\n")], "`plan`");
}

#[test]
fn a_floor_is_not_crossed_sideways() {
    keeps(&[("src/value.rs", "//! D.\nuse crate::error::Error;\n")]);
    keeps(&[("src/policy/a.rs", "//! D.\nuse crate::policy::Kind;\nuse super::b::C;\n")]);
    breaks(&[("src/policy/a.rs", "//! D.\nuse crate::quantize::Kind;\n")], "same floor");
}

#[test]
fn the_root_is_the_top_floor() {
    breaks(&[("src/plan/a.rs", "//! D.\nuse crate::Error;\n")], "import from the module itself");
    breaks(&[("src/attic/a.rs", "//! D.\n")], "`attic` stands on no floor");
}

#[test]
fn comments_texts_and_tests_are_not_imports() {
    keeps(&[(
        "src/nn/a.rs",
        "//! D.\n// crate::plan::A\n/* crate::plan /* x */ crate::plan::A */\n\
         const A: &str = \"crate::plan::B\";\nconst B: &str = r#\"crate::plan::\"B\"#;\n\
         #[cfg(test)]\nmod tests {\n    use crate::plan::A;\n    const B: char = '}';\n    use crate::job::C;\n}\n",
    )]);
}

#[test]
fn each_crate_has_one_door() {
    keeps(&[("storage/src/store.rs", "//! D.\nuse redb::Database;\n")]);
    keeps(&[("src/plan/a.rs", "//! D.\nuse sidql_grammar::ast::Select;\n")]);
    keeps(&[("storage/tests/a.rs", "//! D.\nuse sidql_storage::Sid;\n")]);
    breaks(
        &[("src/exec/a.rs", "//! D.\nuse redb::Database;\n")],
        "`redb` is seen only by storage/",
    );
    breaks(&[("src/exec/a.rs", "//! D.\nuse redb as disk;\n")], "`redb`");
    breaks(&[("src/exec/a.rs", "//! D.\nfn a() -> nom::Err<()> { b }\n")], "`nom`");
    breaks(&[("src/db.rs", "//! D.\nuse indicatif::ProgressBar;\n")], "`indicatif`");
    breaks(
        &[("src/exec/a.rs", "//! D.\nuse sidql_grammar::ast::Select;\n")],
        "`sidql_grammar::ast`",
    );
    breaks(&[("grammar/src/a.rs", "//! D.\nuse sidql_storage::Sid;\n")], "`sidql_storage`");
    breaks(&[("storage/src/a.rs", "//! D.\nuse sidql_grammar::split;\n")], "`sidql_grammar`");
}

#[test]
fn registries_are_complete() {
    let member = ("src/policy/a.rs", "//! D.\npub(super) const KIND: Kind = Kind {};\n");
    keeps(&[member, ("src/policy/mod.rs", "//! D.\nconst KINDS: &[&Kind] = &[&a::KIND];\n")]);
    breaks(
        &[member, ("src/policy/mod.rs", "//! D.\nconst KINDS: &[&Kind] = &[&ba::KIND];\n")],
        "src/policy/mod.rs does not list: add `&a::KIND,`",
    );
    breaks(
        &[
            ("src/policy/b/mod.rs", "//! D.\npub(super) const KIND: Kind = Kind {};\n"),
            ("src/policy/mod.rs", "//! D.\n// b::KIND\n"),
        ],
        "add `&b::KIND,`",
    );
}

#[test]
fn slips_stand_only_in_tests() {
    for slip in ["todo!()", "unimplemented!()", "dbg!(1)", "x.unwrap()", "x.unwrap_err()"] {
        let code = format!("//! D.\nfn a() {{ {slip}; }}\n");
        breaks(&[("src/exec/a.rs", &code)], "outside tests");
        keeps(&[
            ("tests/a.rs", &code),
            ("storage/tests/a.rs", &code),
            ("src/nn/b_tests.rs", &code),
        ]);
        keeps(&[("src/exec/a.rs", &format!("//! D.\n#[cfg(test)]\nmod tests {{ {slip} }}\n"))]);
    }
    keeps(&[("src/exec/a.rs", "//! D.\nfn a() { x.unwrap_or(1); my_todo!(); }\n")]);
}

#[test]
fn libraries_do_not_print() {
    let code = "//! D.\nfn a() { println!(); }\n";
    breaks(&[("grammar/src/a.rs", code)], "in a library");
    breaks(&[("src/exec/a.rs", "//! D.\nfn a() { eprint!(); }\n")], "in a library");
    keeps(&[("src/bin/sidql/a.rs", code), ("bench/src/a.rs", code)]);
}

#[test]
fn names_say_what_is_inside() {
    breaks(&[("src/exec/utils.rs", "//! D.\n")], "`utils` says nothing");
    breaks(&[("src/exec/common/a.rs", "//! D.\n")], "`common` says nothing");
    keeps(&[("src/exec/helper_text.rs", "//! D.\n")]);
}

#[test]
fn every_file_says_what_it_is() {
    breaks(&[("src/exec/a.rs", "/// D.\nfn a() {}\n")], "module doc");
    breaks(&[("tests/a.rs", "")], "module doc");
    keeps(&[("src/exec/a.rs", "\n//! D.\n")]);
}

#[test]
fn files_and_functions_have_an_end() {
    let line = "const A: u8 = 1;\n";
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", line.repeat(400));
    keeps(&[("src/exec/a.rs", &format!("//! D.\n{}{tests}", line.repeat(499)))]);
    breaks(
        &[("src/exec/a.rs", &format!("//! D.\n{}{tests}", line.repeat(500)))],
        "501 lines without tests",
    );
    let function = |lines: usize| {
        format!("//! D.\nfn a(f: fn(u8)) {{\n{}}}\nfn b() {{}}\n", "    // x\n".repeat(lines))
    };
    keeps(&[("src/exec/a.rs", &function(68))]);
    breaks(&[("src/exec/a.rs", &function(69))], "`a` has 71 lines");
}

#[test]
fn no_path_of_one_machine() {
    let home = concat!("/ho", "me/");
    breaks(&[("README.md", &format!("cd {home}me\n"))], "path of one machine");
    breaks(&[("Makefile", &format!("A = {home}me\n"))], "path of one machine");
    breaks(&[("src/exec/a.rs", &format!("//! D.\nconst A: &str = \"{home}b\";\n"))], "one machine");
    keeps(&[("README.md", &format!("https://example.com{home}page and $HOME{home}x\n"))]);
}

#[test]
fn blanking_keeps_every_line_and_byte() {
    let text = "a 'b' \"c\\\"d\" // é\n'static r##\"x\"#\"## /* ü */ b\"\\\\\" '\\'' '\"' z";
    let code = blank::literals(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.matches('\n').count(), 1);
    assert_eq!(code.split_whitespace().next(), Some("a"));
    assert!(code.contains("'static") && code.ends_with('z'));
    assert!(!code.contains(['c', 'x', 'é', 'ü']) || code.contains("'static"), "{code}");
}
