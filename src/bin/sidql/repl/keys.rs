//! Single keys from the terminal, while no line is edited: the answers to Ctrl-C.

#[cfg(unix)]
pub(super) use unix::Keys;

#[cfg(not(unix))]
pub(super) use elsewhere::Keys;

#[cfg(unix)]
mod unix {
    use std::io;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
    use nix::unistd::read;

    /// The terminal gives keys as they are pressed, without showing them, for as long as this lives. Ctrl-C is still a
    /// signal.
    pub(in super::super) struct Keys {
        before: Termios,
    }

    impl Keys {
        /// Nothing where stdin is no terminal.
        pub(in super::super) fn open() -> Option<Keys> {
            let before = tcgetattr(io::stdin()).ok()?;
            let mut plain = before.clone();
            plain.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
            tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &plain).ok()?;
            Some(Keys { before })
        }

        /// The last key that was pressed since the last look.
        pub(in super::super) fn pressed(&self) -> Option<char> {
            use std::os::fd::AsFd;

            let stdin = io::stdin();
            let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, PollTimeout::ZERO).ok()? == 0 {
                return None;
            }
            let mut keys = [0; 64];
            // Past the buffer of the standard library, from which the line editor would not get them back.
            let count = read(&stdin, &mut keys).ok()?;
            keys[..count].last().map(|key| char::from(*key))
        }
    }

    impl Drop for Keys {
        fn drop(&mut self) {
            // A terminal that is gone needs no mending.
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
        }
    }
}

#[cfg(not(unix))]
mod elsewhere {
    /// No single keys here: Ctrl-C cancels without asking.
    pub(in super::super) struct Keys;

    impl Keys {
        pub(in super::super) fn open() -> Option<Keys> {
            None
        }

        pub(in super::super) fn pressed(&self) -> Option<char> {
            None
        }
    }
}
