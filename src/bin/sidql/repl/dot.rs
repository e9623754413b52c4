//! The commands of the shell itself: `.help` and its like, with the short names of psql.

use std::io::Write;
use std::path::Path;

use clap::ValueEnum;
use sidql::grammar::suggest::nearest;

use super::mode::{Mode, screen};
use super::shell::{Place, Shell, Stop};
use super::{dump, param, plot};

/// The columns of what is typed, in the list of commands.
const HELP_LEFT: usize = 24;

/// The widest picture.
const MAX_PLOT: usize = 80;

/// One command: a constant record.
struct Command {
    name: &'static str,
    aliases: &'static [&'static str],
    arguments: &'static str,
    summary: &'static str,
    run: fn(&mut Shell, &[String]) -> Answer,
}

/// What a command did.
pub(super) enum Answer {
    Done,
    /// It was called in the wrong way.
    Refused(String),
    /// What it asked of the database failed.
    Failed(sidql::Error),
    Stopped(Stop),
}

impl From<Result<(), Stop>> for Answer {
    fn from(result: Result<(), Stop>) -> Self {
        result.map_or_else(Answer::Stopped, |()| Answer::Done)
    }
}

const COMMANDS: &[Command] = &[
    Command {
        name: ".dump",
        aliases: &[],
        arguments: "[items|interactions]",
        summary: "writes statements that insert what there is again",
        run: dump::dump,
    },
    Command {
        name: ".echo",
        aliases: &[],
        arguments: "on|off",
        summary: "shows each statement before it runs",
        run: |shell, arguments| switch(&mut shell.settings.echo, arguments),
    },
    Command {
        name: ".exit",
        aliases: &[],
        arguments: "",
        summary: "leaves the shell",
        run: |_, _| Answer::Stopped(Stop::Quit),
    },
    Command {
        name: ".expanded",
        aliases: &["\\x"],
        arguments: "on|off",
        summary: "one line for each value, as `.mode line`",
        run: expanded,
    },
    Command {
        name: ".headers",
        aliases: &[],
        arguments: "on|off",
        summary: "the names of columns in box, csv and tsv",
        run: |shell, arguments| switch(&mut shell.settings.headers, arguments),
    },
    Command {
        name: ".help",
        aliases: &["\\?", "\\h"],
        arguments: "[WORD …]",
        summary: "this list, or the forms of the statements that begin with the words",
        run: help,
    },
    Command {
        name: ".import",
        aliases: &[],
        arguments: "FILE [RELATION]",
        summary: "reads a file into items, unless another is named: COPY",
        run: import,
    },
    Command {
        name: ".jobs",
        aliases: &[],
        arguments: "",
        summary: "long work and its state: SHOW JOBS",
        run: |shell, _| shell.statement("SHOW JOBS").into(),
    },
    Command {
        name: ".mode",
        aliases: &[],
        arguments: "[MODE]",
        summary: "the form of results: box, json, jsonl, csv, tsv, markdown, line",
        run: mode,
    },
    Command {
        name: ".nullvalue",
        aliases: &[],
        arguments: "TEXT",
        summary: "what stands for null outside json",
        run: null_value,
    },
    Command {
        name: ".param",
        aliases: &["\\set"],
        arguments: param::USAGE,
        summary: "lists or sets what stands for $NAME in statements",
        run: param::param,
    },
    Command {
        name: ".plot",
        aliases: &[],
        arguments: plot::USAGE,
        summary: "draws the loss of a job, or the use of codes and the sizes of buckets",
        run: plot,
    },
    Command {
        name: ".print",
        aliases: &["\\echo"],
        arguments: "[TEXT …]",
        summary: "writes a line",
        run: |shell, words| write(shell, &format!("{}\n", words.join(" "))),
    },
    Command {
        name: ".quit",
        aliases: &["\\q"],
        arguments: "",
        summary: "leaves the shell",
        run: |_, _| Answer::Stopped(Stop::Quit),
    },
    Command {
        name: ".read",
        aliases: &["\\i"],
        arguments: "FILE",
        summary: "runs the statements of a file",
        run: read,
    },
    Command {
        name: ".schema",
        aliases: &["\\d"],
        arguments: "[NAME]",
        summary: "the fields of a relation, items unless named: DESCRIBE",
        run: schema,
    },
    Command {
        name: ".tables",
        aliases: &["\\dt"],
        arguments: "",
        summary: "what there is to ask: SHOW RELATIONS",
        run: |shell, _| shell.statement("SHOW RELATIONS").into(),
    },
    Command {
        name: ".timer",
        aliases: &["\\timing"],
        arguments: "on|off",
        summary: "the time each statement took",
        run: |shell, arguments| switch(&mut shell.settings.timer, arguments),
    },
];

impl Command {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// The names of all commands, for completion.
pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
    COMMANDS.iter().map(|command| command.name)
}

/// What can stand behind a command.
pub(super) enum Argument {
    None,
    Words(Vec<String>),
    File,
    Relation,
    /// What `.plot` names.
    Plotted,
}

/// What can stand behind a command and so many words, for completion.
pub(super) fn arguments(name: &str, words: usize) -> Argument {
    let Some(command) = COMMANDS.iter().find(|command| command.names().any(|n| n == name)) else {
        return Argument::None;
    };
    let fixed = |words: &str| Argument::Words(words.split('|').map(str::to_owned).collect());
    match (command.name, words) {
        (".plot", 0) => fixed("job|codebook"),
        (".plot", 1) => Argument::Plotted,
        (".param", 0) => fixed("set|unset|clear"),
        (".dump", 0) => fixed("items|interactions"),
        (".mode", 0) => {
            Argument::Words(Mode::value_variants().iter().map(|mode| mode.name()).collect())
        }
        (".import" | ".read", 0) => Argument::File,
        (".schema", 0) | (".import", 1) => Argument::Relation,
        (_, 0) if command.arguments == "on|off" => fixed("on|off"),
        _ => Argument::None,
    }
}

/// Runs the command of a line.
pub(super) fn run(shell: &mut Shell, line: &str, place: Option<Place<'_>>) -> Result<(), Stop> {
    // A `;` out of habit does no harm.
    let words = match words(line.trim().trim_end_matches(';')) {
        Ok(words) => words,
        Err(message) => return shell.refuse(message, place),
    };
    let Some((name, arguments)) = words.split_first() else { return Ok(()) };
    let Some(command) = COMMANDS.iter().find(|command| command.names().any(|n| n == name)) else {
        let hint = nearest(name, COMMANDS.iter().flat_map(Command::names))
            .map_or("`.help` lists the commands".to_owned(), |near| {
                format!("did you mean `{near}`?")
            });
        return shell.refuse(&format!("unknown command `{name}`; {hint}"), place);
    };
    if command.arguments.is_empty() && !arguments.is_empty() {
        return shell.refuse(&format!("{} takes nothing behind it", command.name), place);
    }
    match (command.run)(shell, arguments) {
        Answer::Done => Ok(()),
        Answer::Refused(message) => shell.refuse(&message, place),
        Answer::Failed(error) => shell.failed(&error, place),
        Answer::Stopped(stop) => Err(stop),
    }
}

/// Splits at blanks; single or double quotes keep a word together.
fn words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => word.get_or_insert_default().push(letter),
            None if letter == '\'' || letter == '"' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    if quote.is_some() { Err("a quote is not closed") } else { Ok(words) }
}

fn switch(setting: &mut bool, arguments: &[String]) -> Answer {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => *setting = !*setting,
        ["on"] => *setting = true,
        ["off"] => *setting = false,
        _ => return Answer::Refused("say on or off".to_owned()),
    }
    Answer::Done
}

fn help(shell: &mut Shell, words: &[String]) -> Answer {
    if words.is_empty() { commands(shell) } else { forms(shell, &words.join(" ")) }
}

/// The forms of the statements that begin with some words, or the line of a command.
fn forms(shell: &mut Shell, asked: &str) -> Answer {
    if let Some(command) = COMMANDS.iter().find(|command| command.names().any(|n| n == asked)) {
        return write(
            shell,
            &format!("{} {}\n    {}\n", command.name, command.arguments, command.summary),
        );
    }
    let asked = asked.to_uppercase();
    let fits = |form: &&str| {
        form.strip_prefix(asked.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let found: Vec<&str> = sidql::grammar::statement_forms().filter(fits).collect();
    if found.is_empty() {
        return Answer::Refused(format!(
            "no statement begins with {asked}; `.help` lists the commands, docs/language.md the statements"
        ));
    }
    write(shell, &format!("{}\n", found.join("\n")))
}

fn commands(shell: &mut Shell) -> Answer {
    let left = |command: &Command| format!("{} {}", command.name, command.arguments);
    let mut text = String::new();
    for command in COMMANDS {
        let also = match command.aliases {
            [] => String::new(),
            aliases => format!(" (also {})", aliases.join(", ")),
        };
        let (left, room) = (left(command), HELP_LEFT);
        // What is called in many ways has its summary on a line of its own.
        let gap =
            if left.chars().count() > room { format!("\n{:room$}", "") } else { String::new() };
        text += &format!("{left:room$}{gap}  {}{also}\n", command.summary);
    }
    text += "\nStatements end with `;`; `.help SELECT` tells the form of one. SHOW KINDS lists policies, quantizers and\n\
             encoders, DESCRIBE KIND the options of one. Tab completes, Ctrl-C ends what runs.\n";
    write(shell, &text)
}

pub(super) fn write(shell: &mut Shell, text: &str) -> Answer {
    shell.out().write_all(text.as_bytes()).map_err(Stop::Output).into()
}

fn mode(shell: &mut Shell, arguments: &[String]) -> Answer {
    let [name] = arguments else {
        if arguments.is_empty() {
            return write(shell, &format!("{}\n", shell.settings.mode.name()));
        }
        return Answer::Refused("name one mode".to_owned());
    };
    let Ok(mode) = Mode::from_str(name, true) else {
        let known: Vec<_> = Mode::value_variants().iter().map(|mode| mode.name()).collect();
        let hint = nearest(name, known.iter().map(String::as_str))
            .map_or(format!("known: {}", known.join(", ")), |near| {
                format!("did you mean `{near}`?")
            });
        return Answer::Refused(format!("unknown mode `{name}`; {hint}"));
    };
    shell.settings.mode = mode;
    Answer::Done
}

fn expanded(shell: &mut Shell, arguments: &[String]) -> Answer {
    let mut on = shell.settings.mode == Mode::Line;
    let answer = switch(&mut on, arguments);
    if on != (shell.settings.mode == Mode::Line) {
        shell.settings.mode = if on { Mode::Line } else { Mode::Box };
    }
    answer
}

fn plot(shell: &mut Shell, arguments: &[String]) -> Answer {
    // Pictures are for people, who read no further than this.
    let width = screen().min(MAX_PLOT);
    match plot::plot(shell, arguments, width) {
        Ok(picture) => write(shell, &picture),
        Err(message) => Answer::Refused(message),
    }
}

fn import(shell: &mut Shell, arguments: &[String]) -> Answer {
    let (file, relation) = match arguments {
        [file] => (file, "items"),
        [file, relation] => (file, relation.as_str()),
        _ => return Answer::Refused("say .import FILE [RELATION]".to_owned()),
    };
    shell.statement(&format!("COPY {relation} FROM '{}'", file.replace('\'', "''"))).into()
}

fn null_value(shell: &mut Shell, arguments: &[String]) -> Answer {
    let [text] = arguments else {
        return Answer::Refused("say what stands for null, for example .nullvalue '-'".to_owned());
    };
    shell.settings.null = Some(text.clone());
    Answer::Done
}

fn read(shell: &mut Shell, arguments: &[String]) -> Answer {
    let [path] = arguments else {
        return Answer::Refused("name one file".to_owned());
    };
    if shell.settings.safe {
        return Answer::Refused("reading files is switched off by --safe".to_owned());
    }
    match shell.file(Path::new(path)) {
        // To a person a file that is not there is a slip of the keyboard, not the end.
        Err(Stop::Script(message)) => Answer::Refused(message),
        result => result.into(),
    }
}

fn schema(shell: &mut Shell, arguments: &[String]) -> Answer {
    match arguments {
        [] => shell.statement("DESCRIBE items").into(),
        // More than one word is a form of DESCRIBE itself, for example `.schema CODEBOOK full`.
        words => shell.statement(&format!("DESCRIBE {}", words.join(" "))).into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn quotes_keep_words_together() {
        assert_eq!(words(".read 'a b' \"\"").unwrap(), [".read", "a b", ""]);
        assert!(words(".read 'a").is_err());
    }

    #[test]
    fn names_are_unique_and_sorted() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
        let mut all: Vec<_> = COMMANDS.iter().flat_map(Command::names).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn help_names_every_mode() {
        let summary = COMMANDS.iter().find(|command| command.name == ".mode").unwrap().summary;
        for mode in Mode::value_variants() {
            assert!(summary.contains(&mode.name()), "{}", mode.name());
        }
    }
}
