//! HTTP for models: questions to an endpoint, and pictures by their address.
//!
//! A request runs on a thread of its own while its caller waits at a channel and looks at the progress: `ureq` can
//! interrupt a request only by closing the connections of all others too. Where the caller is cancelled the thread
//! is abandoned; its time-out ends it. A thread costs microseconds, a request milliseconds.

mod address;
mod fetch;
#[cfg(test)]
mod tests;

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use ureq::Agent;
use ureq::http::HeaderMap;

pub(super) use address::check_base;
pub(crate) use fetch::{Limits, fetch};

use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// Time between two looks at the progress.
const LOOK: Duration = Duration::from_millis(50);

/// The longest time to find and reach a machine.
const CONNECT: Duration = Duration::from_secs(10);

/// The wait before a retry is drawn from zero to this, doubled with each retry.
const BACK_OFF: Duration = Duration::from_millis(500);

/// No wait is drawn from longer times than this.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// The longest time that `Retry-After` may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(2);

/// Bytes of an answer, unpacked.
const LONGEST_ANSWER: u64 = 64 << 20;

/// Letters of a foreign text that a message quotes.
const QUOTED: usize = 300;

/// Letters from which on a key is a secret that must not come back in an answer. Shorter ones stand in for a key
/// where none is needed (`EMPTY`, `ollama`), and are words of the language.
const SECRET: usize = 12;

/// The key of an endpoint.
pub(super) struct Key {
    /// The environment variable that holds it.
    pub(super) variable: String,
    /// What it holds. Never stored, never shown.
    pub(super) secret: String,
}

impl Key {
    /// Reads the key from the environment; none where no variable is named.
    pub(super) fn read(variable: &str) -> Result<Option<Key>> {
        if variable.is_empty() {
            return Ok(None);
        }
        let secret = std::env::var(variable).unwrap_or_default().trim().to_owned();
        if secret.is_empty() {
            let message = format!("the environment variable `{variable}` holds no key");
            return Err(Error::input("no-key", message)
                .help(format!("export {variable}=… before sidql starts; it is stored nowhere")));
        }
        if !secret.bytes().all(|letter| letter.is_ascii_graphic()) {
            let message = format!("the key in `{variable}` has letters that no key has");
            return Err(Error::input("bad-key", message).help("a key is one word of ASCII"));
        }
        Ok(Some(Key { variable: variable.to_owned(), secret }))
    }
}

/// How an endpoint is asked.
pub(super) struct Setup<'a> {
    /// The base of its addresses.
    pub(super) url: &'a str,
    /// Its key, where it wants one.
    pub(super) key: Option<Key>,
    /// The longest time from asking to the end of the answer.
    pub(super) timeout: Duration,
    /// How often a request is repeated.
    pub(super) retries: u32,
    /// Requests a minute; 0 for no limit.
    pub(super) per_minute: u32,
    /// Connections that are kept open between requests.
    pub(super) connections: usize,
}

/// An endpoint that answers JSON with JSON. All threads share one.
pub(super) struct Client {
    agent: Agent,
    base: String,
    key: Option<Key>,
    timeout: Duration,
    retries: u32,
    /// The time from one request to the next, where there is a limit, and when the next one may start.
    spacing: Duration,
    next: Mutex<Instant>,
    jitter: Mutex<ChaCha8Rng>,
}

/// Why there is no answer.
pub(super) struct Failure {
    /// The status, where the endpoint refused.
    pub(super) refused: Option<u16>,
    error: Error,
    /// Whether asking again may help, and how long the endpoint wants to be left alone before.
    again: Option<Duration>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { refused: None, error, again: None }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// One request, as its thread needs it.
struct Request {
    url: String,
    bearer: Option<String>,
    body: Vec<u8>,
}

/// What came back, whatever its status.
struct Answer {
    status: u16,
    retry_after: Duration,
    text: String,
}

impl Client {
    /// A client of the endpoint; nothing is asked yet.
    pub(super) fn new(setup: Setup<'_>) -> Result<Client> {
        let uri = address::read(setup.url)?;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // A key must not follow to an address that nobody gave it for.
            .max_redirects(0)
            .timeout_connect(Some(CONNECT.min(setup.timeout)))
            .timeout_global(Some(setup.timeout))
            .max_idle_connections(setup.connections)
            .max_idle_connections_per_host(setup.connections);
        if address::is_this_machine(&uri) {
            config = config.proxy(None);
        }
        let seed = clock::now_ms() as u64 ^ u64::from(std::process::id()).rotate_left(32);
        let per_minute = setup.per_minute.max(1);
        let limited = setup.per_minute > 0;
        Ok(Client {
            agent: config.build().into(),
            base: setup.url.trim_end_matches('/').to_owned(),
            key: setup.key,
            timeout: setup.timeout,
            retries: setup.retries,
            spacing: if limited { Duration::from_mins(1) / per_minute } else { Duration::ZERO },
            next: Mutex::new(Instant::now()),
            // Spreads retries over time and touches no result: the one draw here that nobody needs to repeat.
            jitter: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
        })
    }

    /// Sends JSON to a path under the base and reads the answer as `T`. Repeats what is worth repeating.
    pub(super) fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Json,
        progress: &Progress,
    ) -> Result<T, Failure> {
        let request = Arc::new(Request {
            url: format!("{}/{path}", self.base),
            bearer: self.key.as_ref().map(|key| format!("Bearer {}", key.secret)),
            body: body.to_string().into_bytes(),
        });
        let mut tries = 0;
        loop {
            self.wait_turn(progress)?;
            let answer = self.send(&request, progress);
            let mut failure = match answer.and_then(|text| self.read(&request.url, &text)) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let Some(after) = failure.again.filter(|_| tries < self.retries) else {
                if tries > 0 && !failure.error.is_cancelled() {
                    failure.error = failure.error.context(format!("after {} tries", tries + 1));
                }
                return Err(failure);
            };
            self.back_off(tries, after, progress)?;
            tries += 1;
        }
    }

    /// Waits until the limit on requests a minute allows one more.
    fn wait_turn(&self, progress: &Progress) -> Result<()> {
        let turn = {
            let mut next = lock(&self.next);
            let turn = Instant::now().max(*next);
            *next = turn + self.spacing;
            turn
        };
        wait_until(turn, progress)
    }

    /// Waits before a retry: what the endpoint wants, and on top of it a time that is drawn, so that many threads do
    /// not come back at once.
    fn back_off(&self, tries: u32, after: Duration, progress: &Progress) -> Result<()> {
        let longest = BACK_OFF.saturating_mul(1 << tries.min(16)).min(LONGEST_BACK_OFF);
        let drawn = longest.mul_f64(lock(&self.jitter).random::<f64>());
        wait_until(Instant::now() + after.min(LONGEST_RETRY_AFTER) + drawn, progress)
    }

    /// Asks once; the text of a good answer.
    fn send(&self, request: &Arc<Request>, progress: &Progress) -> Result<String, Failure> {
        let (agent, sent) = (self.agent.clone(), Arc::clone(request));
        let answer = abandonable(progress, move || exchange(&agent, &sent))?;
        let answer = answer.map_err(|fault| self.unreachable(&request.url, &fault))?;
        match answer.status {
            200..=299 => Ok(self.without_secret(answer.text)),
            408 | 429 | 500 | 502..=599 => Err(self.busy(&request.url, &answer)),
            _ => Err(self.refused(&request.url, &answer)),
        }
    }

    fn read<T: DeserializeOwned>(&self, url: &str, text: &str) -> Result<T, Failure> {
        serde_json::from_str(text).map_err(|error| {
            let message = format!("{url} answered what it must not: {error}: {}", quoted(text));
            let error = Error::new(Kind::Retry, "bad-answer", self.without_key(&message))
                .help("is `url` the base of an OpenAI-compatible endpoint?");
            Failure { refused: None, error, again: Some(Duration::ZERO) }
        })
    }

    fn unreachable(&self, url: &str, fault: &ureq::Error) -> Failure {
        let message = match fault {
            ureq::Error::BodyExceedsLimit(_) => {
                let message = format!("the answer of {url} is longer than {LONGEST_ANSWER} bytes");
                return Error::new(Kind::Retry, "bad-answer", message)
                    .help("a smaller `batch` makes smaller answers")
                    .into();
            }
            ureq::Error::Timeout(ureq::Timeout::Global) => {
                format!("{url} did not answer within {} s", self.timeout.as_secs_f32())
            }
            fault => format!("cannot reach {url}: {}", self.without_key(&fault.to_string())),
        };
        let error = Error::new(Kind::Retry, "endpoint-unreachable", message)
            .help("is the endpoint running, and are `url` and `timeout` right?");
        Failure { refused: None, error, again: Some(Duration::ZERO) }
    }

    fn busy(&self, url: &str, answer: &Answer) -> Failure {
        let error = Error::new(Kind::Retry, "endpoint-busy", self.told(url, answer))
            .help("fewer at a time may help: `concurrency`, `requests_per_minute`");
        Failure { refused: None, error, again: Some(answer.retry_after) }
    }

    fn refused(&self, url: &str, answer: &Answer) -> Failure {
        let help = match (answer.status, &self.key) {
            (300..=399, _) => "give the address that it leads to as `url`".to_owned(),
            (401 | 403, Some(key)) => {
                format!("is the key in the environment variable `{}` right?", key.variable)
            }
            (401 | 403, None) => {
                "`key_env` names the environment variable that holds the key".to_owned()
            }
            (404 | 405, _) => "is `url` the base (it often ends in /v1), and does the endpoint \
                               have a model of this `name`?"
                .to_owned(),
            (413, _) => "a smaller `batch` makes smaller requests".to_owned(),
            _ => "does the endpoint have a model of this `name`, and can it do what is asked?"
                .to_owned(),
        };
        let error = Error::input("endpoint-refused", self.told(url, answer)).help(help);
        Failure { refused: Some(answer.status), error, again: None }
    }

    /// The status of an answer and the endpoint's own words.
    fn told(&self, url: &str, answer: &Answer) -> String {
        let said = self.without_key(&own_words(&answer.text));
        let colon = if said.is_empty() { "" } else { ": " };
        format!("{url} answered {}{colon}{said}", answer.status)
    }

    /// A text for people, without the key.
    fn without_key(&self, text: &str) -> String {
        match &self.key {
            Some(key) => text.replace(&key.secret, "***"),
            None => text.to_owned(),
        }
    }

    /// An answer without the key, in case an endpoint repeats what it was sent.
    fn without_secret(&self, text: String) -> String {
        match &self.key {
            Some(key) if key.secret.len() >= SECRET && text.contains(&key.secret) => {
                self.without_key(&text)
            }
            _ => text,
        }
    }
}

fn exchange(agent: &Agent, request: &Request) -> Result<Answer, ureq::Error> {
    let mut post = agent.post(&request.url).content_type("application/json");
    if let Some(bearer) = &request.bearer {
        post = post.header("authorization", bearer);
    }
    let mut response = post.send(&request.body)?;
    let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
    let body = response.body_mut().with_config().limit(LONGEST_ANSWER).lossy_utf8(true);
    Ok(Answer { status, retry_after, text: body.read_to_string()? })
}

/// `Retry-After` in seconds; a date there counts as nothing.
fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get("retry-after").and_then(|value| value.to_str().ok());
    Duration::from_secs(seconds.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
}

/// The message within an answer of the usual shapes, or its beginning.
fn own_words(text: &str) -> String {
    let json: Json = serde_json::from_str(text).unwrap_or_default();
    let places = ["/error/message", "/error", "/message", "/detail"];
    let words = places.iter().find_map(|place| json.pointer(place).and_then(Json::as_str));
    quoted(words.unwrap_or(text))
}

/// The beginning of a foreign text, on one line.
fn quoted(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Does the work on a thread of its own and waits for it, unless cancelled.
fn abandonable<T: Send + 'static>(
    progress: &Progress,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    progress.check()?;
    let (send, receive) = sync_channel(1);
    let thread = std::thread::Builder::new().name("sidql-request".to_owned());
    // Nobody receives what an abandoned thread sends.
    let spawned = thread.spawn(move || send.send(work()).ok());
    spawned.map_err(|error| {
        Error::new(Kind::Resource, "no-thread", format!("cannot start a thread: {error}"))
            .help("a lower `concurrency` needs fewer")
    })?;
    loop {
        match receive.recv_timeout(LOOK) {
            Ok(done) => return Ok(done),
            Err(RecvTimeoutError::Timeout) => progress.check()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::internal("the thread of a request panicked"));
            }
        }
    }
}

fn wait_until(end: Instant, progress: &Progress) -> Result<()> {
    loop {
        progress.check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(LOOK));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A moment and a state of a generator are whole at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
