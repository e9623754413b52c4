//! The `sidql` command: the shell, scripts and the demo.
//!
//! It sees only the public face of the library.

mod args;
mod demo;
mod exit;
mod repl;

use std::process::ExitCode;

use crate::args::Command;
use crate::exit::Exit;

// Allocation is a good part of training on a CPU; a library must not choose it, a program may.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let exit = match args::read(std::env::args_os()) {
        Ok((args, inputs)) => match &args.command {
            Some(Command::Demo(demo)) => demo::run(demo),
            None => repl::run(&args, inputs),
        },
        Err(error) => {
            let wrong = error.use_stderr();
            // A closed terminal is the only way to fail here, and nobody is left to tell.
            let _ = error.print();
            if wrong { Exit::Usage } else { Exit::Ok }
        }
    };
    exit.into()
}
