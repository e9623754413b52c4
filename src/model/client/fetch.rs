//! Pictures by their address, within limits.
//!
//! Addresses stand in catalogues that strangers filled. So every number that a name stands for is checked where the
//! connection is made, after each redirect too: what was a public name when it was looked at cannot have become a
//! private one when it is used.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use super::{CONNECT, abandonable, address, quoted};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// The longest time without a byte.
const STALL: Duration = Duration::from_secs(10);

/// What a picture may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most bytes, unpacked.
    pub(crate) bytes: u64,
    /// The longest time, redirects included.
    pub(crate) time: Duration,
    /// The most redirects.
    pub(crate) redirects: u32,
    /// Whether addresses of this machine and of private networks are allowed.
    pub(crate) allow_private: bool,
}

/// The bytes behind an address of the web.
///
/// # Errors
/// `bad-url`, `private-address`, `image-too-large`, `image-unreachable` (mend the input where the server refused, try
/// again otherwise), `cancelled`.
pub(crate) fn fetch(url: &str, limits: &Limits, progress: &Progress) -> Result<Vec<u8>> {
    let allows = if limits.allow_private { |_| true } else { address::is_public };
    fetch_from(url, limits, allows, progress)
}

/// The same from the numbers that are allowed.
pub(super) fn fetch_from(
    url: &str,
    limits: &Limits,
    allows: fn(IpAddr) -> bool,
    progress: &Progress,
) -> Result<Vec<u8>> {
    let url = address::escaped(url);
    let uri = address::read(&url)?;
    let limits = *limits;
    match abandonable(progress, move || download(uri, &limits, allows))? {
        Ok((200..=299, bytes)) => Ok(bytes),
        Ok((status, _)) => {
            let passing = matches!(status, 408 | 429 | 500..);
            let kind = if passing { Kind::Retry } else { Kind::Input };
            let message = format!("`{}` answered {status}", quoted(&url));
            Err(Error::new(kind, "image-unreachable", message).help("is the address still right?"))
        }
        Err(fault) => Err(failed(&quoted(&url), &fault, &limits)),
    }
}

/// The status, and the bytes where it is a good one.
fn download(
    uri: Uri,
    limits: &Limits,
    allows: fn(IpAddr) -> bool,
) -> Result<(u16, Vec<u8>), ureq::Error> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(limits.redirects)
        .timeout_connect(Some(CONNECT.min(limits.time)))
        .timeout_per_read(Some(STALL.min(limits.time)))
        .timeout_global(Some(limits.time));
    if !limits.allow_private || address::is_this_machine(&uri) {
        // A proxy would look up names itself, where no check of ours sees the number.
        config = config.proxy(None);
    }
    let guard = Guard { names: DefaultResolver::default(), allows };
    // An agent of its own, so that no connection is used that another limit allowed.
    let agent = Agent::with_parts(config.build(), DefaultConnector::default(), guard);
    let mut response = agent.get(uri).header("accept", "image/*,*/*;q=0.5").call()?;
    let status = response.status();
    if !status.is_success() {
        return Ok((status.as_u16(), Vec::new()));
    }
    let bytes = response.body_mut().with_config().limit(limits.bytes).read_to_vec()?;
    Ok((status.as_u16(), bytes))
}

fn failed(url: &str, fault: &ureq::Error, limits: &Limits) -> Error {
    let unreachable = |message: String| {
        Error::new(Kind::Retry, "image-unreachable", message)
            .help("is the address still right, and its machine up?")
    };
    match fault {
        ureq::Error::Other(other) => match other.downcast_ref::<Private>() {
            Some(Private(ip)) => {
                let message = format!("`{url}` leads to {ip}, which is no public address");
                Error::input("private-address", message)
                    .help("`allow_private = true` allows it, where all addresses are trusted")
            }
            None => unreachable(format!("cannot fetch `{url}`: {fault}")),
        },
        ureq::Error::BodyExceedsLimit(most) => {
            let message = format!("`{url}` is larger than {most} bytes");
            Error::input("image-too-large", message)
                .help("give a smaller picture, or raise the limit")
        }
        ureq::Error::TooManyRedirects => {
            let message = format!("`{url}` leads on more than {} times", limits.redirects);
            Error::input("image-unreachable", message).help("give the address at the end")
        }
        ureq::Error::BadUri(why) => {
            let message = format!("`{url}` leads to no address of the web: {}", quoted(why));
            Error::input("bad-url", message).help("give the address at the end")
        }
        ureq::Error::Timeout(ureq::Timeout::Global) => {
            unreachable(format!("`{url}` did not come within {} s", limits.time.as_secs_f32()))
        }
        fault => unreachable(format!("cannot fetch `{url}`: {fault}")),
    }
}

/// Looks names up and lets only allowed numbers through.
#[derive(Debug)]
struct Guard {
    names: DefaultResolver,
    allows: fn(IpAddr) -> bool,
}

impl Resolver for Guard {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.names.resolve(uri, config, timeout)?;
        let mut allowed = self.empty();
        for address in found.iter().filter(|address| (self.allows)(address.ip())) {
            allowed.push(*address);
        }
        match found.first() {
            Some(first) if allowed.is_empty() => {
                Err(ureq::Error::Other(Box::new(Private(first.ip()))))
            }
            _ => Ok(allowed),
        }
    }
}

/// A name stands for no public number, but for this one.
#[derive(Debug)]
struct Private(IpAddr);

impl fmt::Display for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no public address", self.0)
    }
}

impl std::error::Error for Private {}
