//! A local endpoint that speaks as OpenAI's does, and misbehaves as it is told.
//!
//! A test gives a closure from a request to what the endpoint does about it, and reads afterwards what was asked, how
//! often and how much at once. It is plain sockets and a thread for each connection, so that it can break off where
//! a proper server cannot. The unit tests of `src/model/` include this file too.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

/// What the endpoint does about a request.
pub(crate) enum Behaviour {
    /// A completion with this text, with a count of its words as usage.
    Answer(String),
    /// Embeddings, one for each input.
    Vectors(Vec<Vec<f32>>),
    /// A status, perhaps with `Retry-After` in seconds, and a body.
    Status(u16, Option<u32>, String),
    /// The same after a while.
    Slow(Duration, Box<Behaviour>),
    /// The connection ends without a word.
    Disconnect,
    /// A completion with this text, of which half comes before the connection ends.
    CutOff(String),
    /// This as the whole body of a good answer.
    Raw(String),
    /// These bytes as the whole body of a good answer.
    Bytes(Vec<u8>),
    /// Leads on to another address.
    Redirect(String),
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The path, for example `/v1/chat/completions`.
    pub(crate) path: String,
    /// The header `Authorization`.
    pub(crate) authorization: Option<String>,
    /// The text of the first turn of the user, or the texts to embed, line by line; the path where there is no body.
    pub(crate) prompt: String,
    /// The body; null where there is none.
    pub(crate) body: Json,
    /// When it had come.
    pub(crate) at: Instant,
}

/// A running endpoint. It stops when it is dropped.
pub(crate) struct Endpoint {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

/// From a request and how often its prompt came before to what is done.
type Script = dyn Fn(&Json, usize) -> Behaviour + Send + Sync;

struct Shared {
    script: Box<Script>,
    stopping: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    asked: Vec<Asked>,
    counts: HashMap<String, usize>,
    now: usize,
    most: usize,
}

impl Endpoint {
    /// Starts an endpoint on a free port of this machine.
    pub(crate) fn start(
        script: impl Fn(&Json, usize) -> Behaviour + Send + Sync + 'static,
    ) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script = Box::new(script);
        let shared =
            Arc::new(Shared { script, stopping: AtomicBool::new(false), seen: Mutex::default() });
        let accepting = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if shared.stopping.load(Ordering::SeqCst) {
                        break;
                    }
                    let shared = Arc::clone(&shared);
                    // A client that goes away in the middle is part of the tests.
                    std::thread::spawn(move || stream.and_then(|stream| shared.serve(stream)).ok());
                }
            })
        };
        Endpoint { shared, address, accepting: Some(accepting) }
    }

    /// The base of its addresses, for the option `url`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Everything that was asked, in the order in which it came.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.seen.lock().unwrap().asked.clone()
    }

    /// How many requests came.
    pub(crate) fn count(&self) -> usize {
        self.shared.seen.lock().unwrap().asked.len()
    }

    /// How many requests came whose prompt has this text in it, such as the id of an item.
    pub(crate) fn count_of(&self, text: &str) -> usize {
        let seen = self.shared.seen.lock().unwrap();
        seen.asked.iter().filter(|asked| asked.prompt.contains(text)).count()
    }

    /// The most requests that were being answered at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.shared.seen.lock().unwrap().most
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let asked = read(&stream)?;
        let (body, before) = {
            let mut seen = self.seen.lock().unwrap();
            let count = seen.counts.entry(asked.prompt.clone()).or_default();
            let before = *count;
            *count += 1;
            let body = asked.body.clone();
            seen.asked.push(asked);
            seen.now += 1;
            seen.most = seen.most.max(seen.now);
            (body, before)
        };
        let mut behaviour = (self.script)(&body, before);
        while let Behaviour::Slow(time, after) = behaviour {
            self.sleep(time);
            behaviour = *after;
        }
        // Counted before the answer is sent: who has it may ask again at once.
        self.seen.lock().unwrap().now -= 1;
        answer(&mut stream, &body, behaviour)
    }

    fn sleep(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end && !self.stopping.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5).min(time));
        }
    }
}

/// Reads one request. One that its client did not finish, because it was killed, is none.
fn read(stream: &TcpStream) -> std::io::Result<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    let mut next = |line: &mut String| match reader.read_line(line)? {
        0 => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
        _ => Ok(()),
    };
    next(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut length, mut authorization) = (0, None);
    loop {
        line.clear();
        next(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "authorization" => authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    let body: Json = serde_json::from_slice(&bytes).unwrap_or_default();
    let prompt = if body.is_null() { path.clone() } else { prompt(&body) };
    Ok(Asked { path, authorization, prompt, body, at: Instant::now() })
}

/// What a request is about.
fn prompt(body: &Json) -> String {
    if let Some(input) = body["input"].as_array() {
        return input.iter().filter_map(Json::as_str).collect::<Vec<_>>().join("\n");
    }
    let mut turns = body["messages"].as_array().into_iter().flatten();
    let content = turns.find(|turn| turn["role"] == "user").map(|turn| &turn["content"]);
    let mut parts = content.and_then(Json::as_array).into_iter().flatten();
    let text = parts.find_map(|part| part["text"].as_str());
    text.or_else(|| content.and_then(Json::as_str)).unwrap_or_default().to_owned()
}

fn answer(stream: &mut TcpStream, body: &Json, behaviour: Behaviour) -> std::io::Result<()> {
    match behaviour {
        Behaviour::Answer(text) => write(stream, 200, "", completion(body, &text).as_bytes()),
        Behaviour::Vectors(vectors) => write(stream, 200, "", embeddings(&vectors).as_bytes()),
        Behaviour::Status(status, after, body) => {
            let after = after.map_or(String::new(), |after| format!("Retry-After: {after}\r\n"));
            write(stream, status, &after, body.as_bytes())
        }
        Behaviour::CutOff(text) => {
            let whole = completion(body, &text);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", whole.len());
            stream.write_all(head.as_bytes())?;
            stream.write_all(&whole.as_bytes()[..whole.len() / 2])
        }
        Behaviour::Raw(body) => write(stream, 200, "", body.as_bytes()),
        Behaviour::Bytes(bytes) => write(stream, 200, "", &bytes),
        Behaviour::Redirect(to) => write(stream, 302, &format!("Location: {to}\r\n"), b""),
        Behaviour::Disconnect | Behaviour::Slow(..) => Ok(()),
    }
}

fn write(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

/// A completion; a word is a token.
fn completion(request: &Json, text: &str) -> String {
    let read = prompt(request).split_whitespace().count();
    let written = text.split_whitespace().count();
    json!({
        "object": "chat.completion",
        "model": request["model"],
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }],
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        },
    })
    .to_string()
}

fn embeddings(vectors: &[Vec<f32>]) -> String {
    let data: Vec<Json> = vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| json!({"object": "embedding", "index": index, "embedding": vector}))
        .collect();
    let usage = json!({"prompt_tokens": vectors.len(), "total_tokens": vectors.len()});
    json!({"object": "list", "data": data, "usage": usage}).to_string()
}

/// Vectors of the texts of a request, of `dim` components: each word counts for one of them, by its letters. Texts
/// that share words are alike.
pub(crate) fn vectors(request: &Json, dim: usize) -> Behaviour {
    let texts = request["input"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let vector = |text: &str| {
        let mut vector = vec![0.0; dim];
        for word in text.to_lowercase().split_whitespace() {
            let place = word.bytes().fold(7, |sum: usize, byte| sum * 31 % 65_521 + byte as usize);
            vector[place % dim] += 1.0;
        }
        vector
    };
    Behaviour::Vectors(texts.map(vector).collect())
}
