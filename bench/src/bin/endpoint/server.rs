//! An endpoint that answers every question at once with the same descriptors, over connections that stay open.

use std::io::{BufRead, BufReader, Error, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::json;
use sidql_bench::Result;

/// The endpoint. Its threads end with the process.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Vec<u8>,
    requests: AtomicUsize,
    connections: AtomicUsize,
    /// The first request as it came, head and body.
    first: OnceLock<Vec<u8>>,
}

impl Server {
    /// Listens on a free port of this machine.
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            answer: answer(),
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            first: OnceLock::new(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&accepting);
                shared.connections.fetch_add(1, Ordering::Relaxed);
                // A client that goes away ends its connection; that all were answered is checked by their count.
                std::thread::spawn(move || stream.and_then(|stream| shared.serve(stream)).ok());
            }
        });
        Ok(Server { address, shared })
    }

    /// The base of its addresses, for the option `url`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// The first request as it came.
    pub(crate) fn first(&self) -> Option<Vec<u8>> {
        self.shared.first.get().cloned()
    }

    /// Requests and connections since this was last asked.
    pub(crate) fn count(&self) -> (usize, usize) {
        let counts = [&self.shared.requests, &self.shared.connections];
        let [requests, connections] = counts.map(|count| count.swap(0, Ordering::Relaxed));
        (requests, connections)
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(&stream);
        let (mut message, mut writer) = (Vec::new(), &stream);
        while read(&mut reader, &mut message)? {
            self.first.get_or_init(|| message.clone());
            self.requests.fetch_add(1, Ordering::Relaxed);
            writer.write_all(&self.answer)?;
        }
        Ok(())
    }
}

/// Reads one message, head and body, into `message`; false where the connection has ended before it.
pub(crate) fn read(reader: &mut impl BufRead, message: &mut Vec<u8>) -> std::io::Result<bool> {
    message.clear();
    let (mut start, mut length) = (0, 0);
    loop {
        if reader.read_until(b'\n', message)? == 0 {
            let cut = Error::from(ErrorKind::UnexpectedEof);
            return if message.is_empty() { Ok(false) } else { Err(cut) };
        }
        let line = String::from_utf8_lossy(&message[start..]);
        if line.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(|_| Error::from(ErrorKind::InvalidData))?;
        }
        start = message.len();
    }
    let head = message.len();
    message.resize(head + length, 0);
    reader.read_exact(&mut message[head..])?;
    Ok(true)
}

/// Head and body of the answer.
fn answer() -> Vec<u8> {
    let descriptors = json!({"descriptors": [
        {"descriptor": "practice at the weekend", "confidence": 0.9},
        {"descriptor": "gift for a beginner", "confidence": 0.6},
        {"descriptor": "small flat without much room", "confidence": 0.4},
    ]});
    let message = json!({"role": "assistant", "content": descriptors.to_string()});
    let body = json!({
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 600, "completion_tokens": 60, "total_tokens": 660},
    })
    .to_string();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    (head + &body).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_where_their_length_says() {
        let bytes = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n";
        let (mut reader, mut message) = (&bytes[..], Vec::new());
        assert!(read(&mut reader, &mut message).expect("a message"));
        assert!(message.ends_with(b"\r\n\r\nabc"));
        assert!(read(&mut reader, &mut message).expect("a message"));
        assert_eq!(message, b"GET / HTTP/1.1\r\n\r\n");
        assert!(!read(&mut reader, &mut message).expect("an end"));
        assert!(read(&mut &b"POST / HTTP/1.1\r\n"[..], &mut message).is_err());
    }
}
