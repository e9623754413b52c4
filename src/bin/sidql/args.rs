//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::repl::Mode;

/// The version, and what the build has beyond the usual.
const VERSION: &str = if sidql::WITH_CUDA {
    concat!(env!("CARGO_PKG_VERSION"), " with CUDA")
} else {
    env!("CARGO_PKG_VERSION")
};

/// The arguments of `sidql`.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Parser)]
#[command(
    name = "sidql",
    version = VERSION,
    about = "The shell of sidql, an embedded database for Semantic IDs",
    after_help = "Exit codes: 0 ok, 1 usage or file, 3 failed statement.\n\
                  In the shell, `.help` lists its commands.",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The database; created unless it exists. Without it the database lives in memory
    pub(crate) file: Option<PathBuf>,
    /// Runs statements, separated by `;`, and ends; may be given several times
    #[arg(short = 'c', long = "command", value_name = "TEXT", allow_hyphen_values = true)]
    texts: Vec<String>,
    /// Runs the statements of a file and ends; `-` is stdin
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    scripts: Vec<PathBuf>,
    /// The form of results: box on a terminal and tsv elsewhere unless given
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<Mode>,
    /// Opens the database for reading only
    #[arg(long)]
    pub(crate) readonly: bool,
    /// Forbids statements and dot commands that read or write other files
    #[arg(long)]
    pub(crate) safe: bool,
    /// Goes on after a failed statement; the exit code is then 3 at the end
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Does not read ~/.sidqlrc, which an interactive shell runs at its start
    #[arg(long)]
    pub(crate) no_rc: bool,
}

/// What `sidql` does besides being a shell.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes a sample catalogue of a sports shop and walks through the main job
    Demo(DemoArgs),
}

/// The arguments of `sidql demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Where the database stays; it must not exist yet
    pub(crate) file: Option<PathBuf>,
    /// Keeps the database as demo.sidql where no file is named
    #[arg(long)]
    pub(crate) keep: bool,
}

/// One `-c` or `-f`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Statements from the command line.
    Text(String),
    /// A file of statements; `-` is stdin.
    File(PathBuf),
}

/// Reads the command line: the arguments, and the inputs in the order in which they were given.
pub(crate) fn read(
    words: impl IntoIterator<Item = OsString>,
) -> Result<(Args, Vec<Input>), clap::Error> {
    let matches = Args::command().try_get_matches_from(words)?;
    let mut args = Args::from_arg_matches(&matches)?;
    let texts = std::mem::take(&mut args.texts).into_iter().map(Input::Text);
    let scripts = std::mem::take(&mut args.scripts).into_iter().map(Input::File);
    let mut inputs: Vec<_> = places(&matches, "texts")
        .zip(texts)
        .chain(places(&matches, "scripts").zip(scripts))
        .collect();
    inputs.sort_by_key(|(place, _)| *place);
    Ok((args, inputs.into_iter().map(|(_, input)| input).collect()))
}

fn places<'a>(matches: &'a ArgMatches, id: &str) -> impl Iterator<Item = usize> + 'a {
    matches.indices_of(id).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn inputs_keep_their_order() {
        let (_, inputs) = read(words("sidql shop.sidql -c A -f b.sql -c C")).unwrap();
        let text = |text: &str| Input::Text(text.to_owned());
        assert_eq!(inputs, [text("A"), Input::File("b.sql".into()), text("C")]);
    }

    #[test]
    fn a_file_may_be_called_like_the_demo() {
        let (args, _) = read(words("sidql ./demo")).unwrap();
        assert!(args.command.is_none());
        assert_eq!(args.file.unwrap().to_str(), Some("./demo"));
    }
}
