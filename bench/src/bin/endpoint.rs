//! The endpoint path: what sidql adds to 64 requests at a time, and whether its memory grows with the catalogue.
//!
//! This process is the endpoint: it answers at once, with a list of descriptors. `ENRICH items BY intent` runs in a
//! process of its own for each size, so that its peak memory is its own; beside it stands the same number of requests by
//! 64 bare threads, which is the limit of this machine and this endpoint.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value as Json, json};
use sidql::Database;
use sidql_bench::{Report, Result, option, peak_mib};

/// Requests at a time.
const AT_A_TIME: usize = 64;
/// Items of the catalogues.
const SIZES: [usize; 3] = [2_000, 20_000, 50_000];

fn main() -> Result {
    if let Some(what) = option("--child") {
        let file = option("--file").ok_or("no file")?;
        return child(&what, Path::new(&file));
    }
    let mut report = Report::from_args()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away ends its thread.
            std::thread::spawn(move || drop(serve(stream)));
        }
    });
    report.say(format!(
        "ENRICH items BY intent, {AT_A_TIME} requests at a time, an endpoint that answers at once"
    ));
    let folder = tempfile::tempdir()?;
    let mut rows = Vec::new();
    for size in SIZES {
        let file = folder.path().join(format!("{size}.sidql"));
        let run = |what: String| -> Result<Json> {
            let mut command = Command::new(std::env::current_exe()?);
            let ended = command.args(["--child", &what]).arg("--file").arg(&file).output()?;
            if !ended.status.success() {
                return Err(String::from_utf8_lossy(&ended.stderr).into_owned().into());
            }
            Ok(serde_json::from_str(String::from_utf8(ended.stdout)?.trim())?)
        };
        run(format!("fill {size}"))?;
        let scan = run("scan".to_owned())?;
        let enrich = run(format!("enrich http://{address}/v1"))?;
        let bare = bare(&address.to_string(), size)?;
        let (seconds, peak) = (enrich["seconds"].as_f64(), enrich["peak_mib"].as_f64());
        let (seconds, peak) = (seconds.ok_or("no time")?, peak.unwrap_or(0.0));
        let idle = scan["peak_mib"].as_f64().unwrap_or(0.0);
        let rate = size as f64 / seconds;
        rows.push(vec![
            size.to_string(),
            format!("{rate:.0}"),
            format!("{bare:.0}"),
            format!("{:.2}", rate / bare),
            format!("{peak:.0}"),
            format!("{idle:.0}"),
        ]);
    }
    report.table(
        "requests a second, and peak memory in MiB",
        &["items", "sidql", "64 bare threads", "ratio", "peak of ENRICH", "peak of a scan"],
        &rows,
    )
}

#[allow(clippy::print_stdout, reason = "a child answers on stdout")]
fn child(what: &str, file: &Path) -> Result {
    let db = Database::open(file)?;
    let answer = match what.split_once(' ') {
        Some(("fill", count)) => {
            let count: usize = count.parse()?;
            let lines = file.with_extension("jsonl");
            let mut text = String::new();
            for at in 0..count {
                let title = format!("Made-up thing number {at} of many");
                text += &format!("{}\n", json!({"id": format!("i{at}"), "title": title}));
            }
            std::fs::write(&lines, text)?;
            db.execute(&format!("COPY items FROM '{}'", lines.display()), ())?;
            json!({})
        }
        Some(("enrich", url)) => {
            db.execute(
                &format!("CREATE MODEL m USING openai WITH (url = '{url}', name = 'm', concurrency = {AT_A_TIME})"),
                (),
            )?;
            let started = Instant::now();
            db.execute("ENRICH items BY intent USING m", ())?;
            let seconds = started.elapsed().as_secs_f64();
            let left = db.query("SELECT count(*) FROM items WHERE descriptors IS NULL", ())?;
            if left.rows[0][0].as_i64() != Some(0) {
                return Err("some items have no descriptors".into());
            }
            json!({"seconds": seconds, "peak_mib": peak_mib()})
        }
        _ => {
            db.query("SELECT count(*) FROM items WHERE title LIKE '%number 7%'", ())?;
            json!({"peak_mib": peak_mib()})
        }
    };
    println!("{answer}");
    Ok(())
}

/// Answers the requests of one connection.
fn serve(stream: TcpStream) -> std::io::Result<()> {
    let content = "{\"descriptors\":[{\"descriptor\":\"weekend use\",\"confidence\":0.9},\
                   {\"descriptor\":\"gift for a friend\",\"confidence\":0.4}]}";
    let body = json!({
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 400, "completion_tokens": 40, "total_tokens": 440},
    })
    .to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        if !read(&mut reader)? {
            return Ok(());
        }
        writer.write_all(answer.as_bytes())?;
    }
}

/// Reads one message, head and body; false at the end of the stream.
fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<bool> {
    let (mut length, mut line) = (0, String::new());
    if reader.read_line(&mut line)? == 0 {
        return Ok(false);
    }
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(true)
}

/// Requests a second of bare threads that send bodies of the same length and do nothing with the answers.
fn bare(address: &str, count: usize) -> Result<f64> {
    let body = "x".repeat(4_000);
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| -> std::io::Result<()> {
                let mut stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                let mut reader = BufReader::new(stream.try_clone()?);
                for _ in 0..count / AT_A_TIME {
                    stream.write_all(request.as_bytes())?;
                    read(&mut reader)?;
                }
                Ok(())
            });
        }
    });
    Ok(count as f64 / started.elapsed().as_secs_f64())
}
