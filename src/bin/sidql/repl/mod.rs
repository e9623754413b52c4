//! The shell: reads statements, runs them, shows what they return.
//!
//! - `start.rs` goes from the arguments to a running shell
//! - `shell.rs` runs one statement and keeps the settings; `dot.rs` has the dot commands
//! - `script.rs` reads statements from text; `edit.rs` from a person, with `complete.rs` and
//!   `highlight.rs`
//! - `mode.rs` names the forms of a result; `table.rs` writes those for people, `machine.rs` those
//!   for programs
//! - `watch.rs` shows the progress of a job; `interrupt.rs` lets Ctrl-C end a statement, `keys.rs` reads the
//!   answer about a job
//! - `plot.rs` has the pictures of `.plot`, which `chart.rs` draws; `dump.rs` and `param.rs` the commands of their names

mod chart;
mod complete;
mod dot;
mod dump;
mod edit;
mod highlight;
mod interrupt;
mod keys;
mod machine;
mod mode;
mod number;
mod param;
mod plot;
mod script;
mod shell;
mod start;
mod table;
mod watch;

pub(crate) use interrupt::Interrupts;
pub(crate) use mode::Mode;
pub(crate) use shell::{Settings, Shell, Stop};
pub(crate) use start::run;
