//! The commands of the shell itself: `.help` and its like, with the short names of psql.

use std::io::Write;
use std::path::Path;

use clap::ValueEnum;
use sidql::grammar::suggest::nearest;

use super::mode::Mode;
use super::shell::{Place, Shell, Stop};

/// One command: a constant record.
struct Command {
    name: &'static str,
    aliases: &'static [&'static str],
    arguments: &'static str,
    summary: &'static str,
    run: fn(&mut Shell, &[String]) -> Answer,
}

/// What a command did.
enum Answer {
    Done,
    /// It was called in the wrong way.
    Refused(String),
    Stopped(Stop),
}

impl From<Result<(), Stop>> for Answer {
    fn from(result: Result<(), Stop>) -> Self {
        result.map_or_else(Answer::Stopped, |()| Answer::Done)
    }
}

const COMMANDS: &[Command] = &[
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
        name: ".headers",
        aliases: &[],
        arguments: "on|off",
        summary: "the names of columns in box, csv and tsv",
        run: |shell, arguments| switch(&mut shell.settings.headers, arguments),
    },
    Command { name: ".help", aliases: &["\\?"], arguments: "", summary: "this list", run: help },
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

fn help(shell: &mut Shell, _: &[String]) -> Answer {
    let left = |command: &Command| format!("{} {}", command.name, command.arguments);
    let widest = COMMANDS.iter().map(|command| left(command).len()).max().unwrap_or(0);
    let mut text = String::new();
    for command in COMMANDS {
        let also = match command.aliases {
            [] => String::new(),
            aliases => format!(" (also {})", aliases.join(", ")),
        };
        text += &format!("{:widest$}  {}{also}\n", left(command), command.summary);
    }
    text += "\nStatements end with `;`. SHOW KINDS lists policies, quantizers and encoders.\n";
    write(shell, &text)
}

fn write(shell: &mut Shell, text: &str) -> Answer {
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
