//! Statements from a person: line editing, history, the rc file.

use std::path::PathBuf;

use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{ColorMode, CompletionType, Config, Editor};
use sidql::Session;

use super::complete::Helper;
use super::script::{is_dot, spoken};
use super::shell::{Shell, Stop};
use crate::exit::say;

/// How many statements the history keeps.
const HISTORY: usize = 10_000;

/// Reads and runs statements until the person leaves. `completing` answers the completion.
pub(super) fn interact(shell: &mut Shell, completing: Session, rc: bool) -> Result<(), Stop> {
    if let Some(path) = home(".sidqlrc").filter(|path| rc && path.exists()) {
        match shell.file(&path) {
            Err(Stop::Failed) | Ok(()) => {}
            other => return other,
        }
    }
    let mut editor = editor(completing).map_err(unusable)?;
    let history = home(".sidql_history");
    if let Some(path) = history.as_ref().filter(|path| path.exists())
        && let Err(error) = editor.load_history(path)
    {
        say(format_args!("warning: cannot read {}: {error}", path.display()));
    }
    let ended = converse(shell, &mut editor);
    if let Some(path) = history
        && let Err(error) = editor.append_history(&path)
    {
        say(format_args!("warning: cannot write {}: {error}", path.display()));
    }
    ended
}

fn converse(shell: &mut Shell, editor: &mut Editor<Helper, FileHistory>) -> Result<(), Stop> {
    loop {
        shell.tell_of_jobs();
        let text = match editor.readline("sidql> ") {
            Ok(text) => text,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(unusable(error)),
        };
        if text.trim().is_empty() {
            continue;
        }
        editor.add_history_entry(text.trim_end()).map_err(unusable)?;
        let result = match spoken(&text) {
            Some(command) => shell.dot(command, None),
            None if is_dot(&text) => shell.dot(&text, None),
            None => shell.text(&text, None),
        };
        match result {
            Err(Stop::Failed) | Ok(()) => {}
            Err(Stop::Script(message)) => say(format_args!("error: {message}")),
            other => return other,
        }
    }
}

fn editor(completing: Session) -> rustyline::Result<Editor<Helper, FileHistory>> {
    let config = Config::builder()
        .max_history_size(HISTORY)?
        .history_ignore_dups(true)?
        .completion_type(CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config)?;
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        editor.set_color_mode(ColorMode::Disabled);
    }
    editor.set_helper(Some(Helper::new(completing)));
    Ok(editor)
}

fn home(name: &str) -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(name))
}

fn unusable(error: ReadlineError) -> Stop {
    Stop::Script(format!("cannot read from the terminal: {error}"))
}
