//! Requests against an endpoint that misbehaves, and pictures that must not be fetched.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::IpAddr;

use serde_json::json;

use super::*;
use crate::model::endpoint::{Behaviour, Endpoint};

const SECRET_KEY: &str = "sk-very-secret-0123456789";

/// A client of the endpoint with a key and a time-out of a second.
fn client(endpoint: &Endpoint, retries: u32, per_minute: u32) -> Client {
    Client::new(Setup {
        url: &endpoint.url(),
        key: Some(Key { variable: "SIDQL_TEST_KEY".to_owned(), secret: SECRET_KEY.to_owned() }),
        timeout: Duration::from_secs(1),
        retries,
        per_minute,
        connections: 4,
    })
    .unwrap()
}

fn ask(client: &Client) -> Result<Json> {
    let body = json!({"messages": [{"role": "user", "content": "hello"}]});
    Ok(client.post_json("chat/completions", &body, &Progress::silent())?)
}

/// One way to misbehave.
type Fault = fn() -> Behaviour;

/// Asks an endpoint that misbehaves `times` times and then answers; the answer and the number of requests.
fn after(times: usize, fault: Fault) -> (Result<Json>, usize) {
    let endpoint = Endpoint::start(move |_, before| {
        if before < times { fault() } else { Behaviour::Raw(r#"{"good": true}"#.to_owned()) }
    });
    let answer = ask(&client(&endpoint, 2, 0));
    (answer, endpoint.count())
}

#[test]
fn what_may_pass_is_tried_again_and_counted() {
    let slow = || {
        let answer = Box::new(Behaviour::Raw("{}".to_owned()));
        Behaviour::Slow(Duration::from_secs(4), answer)
    };
    let faults: [(Fault, &str); 8] = [
        (|| Behaviour::Status(500, None, "oops".to_owned()), "endpoint-busy"),
        (|| Behaviour::Status(429, None, "slow down".to_owned()), "endpoint-busy"),
        (|| Behaviour::Status(408, None, String::new()), "endpoint-busy"),
        (|| Behaviour::Disconnect, "endpoint-unreachable"),
        (|| Behaviour::CutOff("half of this".to_owned()), "endpoint-unreachable"),
        (slow, "endpoint-unreachable"),
        (|| Behaviour::Raw("<html>".to_owned()), "bad-answer"),
        (|| Behaviour::Raw(r#"{"cut": "#.to_owned()), "bad-answer"),
    ];
    let behaves = |number: usize, fault: Fault, code: &str| {
        let (answer, requests) = after(2, fault);
        assert_eq!((answer.unwrap(), requests), (json!({"good": true}), 3), "{number}");
        let (answer, requests) = after(3, fault);
        let error = answer.unwrap_err();
        assert_eq!((error.code(), requests), (code, 3), "{number}: {error}");
        assert_eq!(error.kind(), Kind::Retry, "{error}");
        assert!(error.message().starts_with("after 3 tries: "), "{error}");
        assert!(error.help_text().is_some(), "{error}");
    };
    // Each waits most of its time.
    std::thread::scope(|scope| {
        for (number, (fault, code)) in faults.into_iter().enumerate() {
            scope.spawn(move || behaves(number, fault, code));
        }
    });
}

#[test]
fn what_is_refused_is_not_tried_again() {
    for (status, help) in [
        (400, "`name`"),
        (401, "SIDQL_TEST_KEY"),
        (403, "SIDQL_TEST_KEY"),
        (404, "/v1"),
        (413, "batch"),
        (422, "`name`"),
        (501, "`name`"),
        (302, "`url`"),
    ] {
        let said = json!({"error": {"message": format!("bad {SECRET_KEY}\n\nkey")}}).to_string();
        let endpoint = Endpoint::start(move |_, _| Behaviour::Status(status, None, said.clone()));
        let error = ask(&client(&endpoint, 3, 0)).unwrap_err();
        assert_eq!((error.code(), error.kind()), ("endpoint-refused", Kind::Input), "{error}");
        assert_eq!(endpoint.count(), 1, "{error}");
        assert!(error.message().contains(&status.to_string()), "{error}");
        assert!(error.message().ends_with(": bad *** key"), "{error}");
        assert!(error.help_text().unwrap().contains(help), "{error}");
    }
}

#[test]
fn the_key_is_sent_and_never_comes_back() {
    let echo = || Behaviour::Raw(json!({"echo": SECRET_KEY}).to_string());
    let endpoint = Endpoint::start(move |_, before| match before {
        0 => echo(),
        1 => Behaviour::Raw(format!("no json: {SECRET_KEY}")),
        _ => Behaviour::Status(500, None, SECRET_KEY.repeat(20)),
    });
    let client = client(&endpoint, 0, 0);
    assert_eq!(ask(&client).unwrap(), json!({"echo": "***"}));
    for _ in 0..2 {
        let error = ask(&client).unwrap_err();
        assert!(!format!("{error:?}").contains("sk-very"), "{error}");
        assert!(format!("{error:?}").contains("***"), "{error}");
    }
    let bearer = format!("Bearer {SECRET_KEY}");
    for asked in endpoint.asked() {
        assert_eq!(asked.authorization.as_deref(), Some(bearer.as_str()));
        assert_eq!(asked.path, "/v1/chat/completions");
    }
}

#[test]
fn keys_are_read_from_the_environment() {
    assert!(Key::read("").unwrap().is_none());
    let missing = Key::read("SIDQL_TEST_NO_SUCH_KEY").err().unwrap();
    assert_eq!(missing.code(), "no-key");
    assert!(missing.message().contains("SIDQL_TEST_NO_SUCH_KEY"));
    // Cargo sets this one for every test.
    let key = Key::read("CARGO_PKG_NAME").unwrap().unwrap();
    assert_eq!((key.variable.as_str(), key.secret.as_str()), ("CARGO_PKG_NAME", "sidql"));
    let bad = Key::read("CARGO_PKG_DESCRIPTION").err().unwrap();
    assert_eq!(bad.code(), "bad-key");
    assert!(!bad.to_string().contains("embedded"), "{bad}");
}

#[test]
fn retry_after_is_waited_for() {
    let endpoint = Endpoint::start(|_, before| match before {
        0 => Behaviour::Status(429, Some(1), "wait".to_owned()),
        _ => Behaviour::Raw("{}".to_owned()),
    });
    ask(&client(&endpoint, 1, 0)).unwrap();
    let asked = endpoint.asked();
    assert!(asked[1].at - asked[0].at >= Duration::from_secs(1));
}

#[test]
fn requests_keep_their_distance() {
    let endpoint = Endpoint::start(|_, _| Behaviour::Raw("{}".to_owned()));
    let client = client(&endpoint, 0, 600);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| ask(&client).unwrap());
        }
    });
    // Six requests have five distances of a tenth of a second.
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(endpoint.count(), 6);
}

/// Stops the work after a moment and asserts that it ends within a second.
fn ends_when_cancelled<T>(work: impl FnOnce(&Progress) -> Result<T>) {
    let progress = Progress::silent();
    let stop = progress.clone();
    let stopped = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        stop.stop();
        Instant::now()
    });
    let error = work(&progress).err().unwrap();
    let ended = Instant::now();
    assert!(error.is_cancelled(), "{error}");
    let late = ended.saturating_duration_since(stopped.join().unwrap());
    assert!(late < Duration::from_secs(1), "{late:?}");
}

#[test]
fn every_wait_ends_when_cancelled() {
    let hanging = || {
        let answer = Box::new(Behaviour::Raw("{}".to_owned()));
        Behaviour::Slow(Duration::from_mins(1), answer)
    };
    let endpoint = Endpoint::start(move |request, _| match request["wait"].as_str() {
        Some("answer") => hanging(),
        Some("retry") => Behaviour::Status(503, Some(60), String::new()),
        // A picture.
        None => hanging(),
        Some(_) => Behaviour::Raw("{}".to_owned()),
    });
    let url = endpoint.url();
    let setup = |per_minute| Setup {
        url: &url,
        key: None,
        timeout: Duration::from_mins(1),
        retries: 5,
        per_minute,
        connections: 1,
    };
    for wait in ["answer", "retry"] {
        let client = Client::new(setup(0)).unwrap();
        ends_when_cancelled(|progress| {
            Ok(client.post_json::<Json>("x", &json!({"wait": wait}), progress)?)
        });
    }
    let client = Client::new(setup(1)).unwrap();
    client.post_json::<Json>("x", &json!({"wait": "turn"}), &Progress::silent()).ok().unwrap();
    ends_when_cancelled(|progress| {
        Ok(client.post_json::<Json>("x", &json!({"wait": "turn"}), progress)?)
    });
    let limits = Limits { time: Duration::from_mins(1), ..LIMITS };
    ends_when_cancelled(|progress| fetch(&format!("{url}/slow"), &limits, progress));
}

#[test]
fn a_machine_that_does_not_listen_is_unreachable() {
    let url = Endpoint::start(|_, _| Behaviour::Disconnect).url();
    let timeout = Duration::from_secs(2);
    let setup = Setup { url: &url, key: None, timeout, retries: 1, per_minute: 0, connections: 1 };
    let error = ask(&Client::new(setup).unwrap()).unwrap_err();
    assert_eq!(error.code(), "endpoint-unreachable", "{error}");
    assert!(error.message().starts_with("after 2 tries: cannot reach http://127.0.0.1"), "{error}");
}

const LIMITS: Limits =
    Limits { bytes: 1000, time: Duration::from_secs(2), redirects: 2, allow_private: true };

#[test]
fn pictures_come_within_limits() {
    let endpoint = Endpoint::start(|_, _| Behaviour::Bytes(vec![7; 1000]));
    let silent = Progress::silent();
    let url = format!("{}/a picture.png", endpoint.url());
    assert_eq!(fetch(&url, &LIMITS, &silent).unwrap(), vec![7; 1000]);
    assert_eq!(endpoint.asked()[0].path, "/v1/a%20picture.png");
    let small = Limits { bytes: 999, ..LIMITS };
    let error = fetch(&url, &small, &silent).unwrap_err();
    assert_eq!((error.code(), error.kind()), ("image-too-large", Kind::Input), "{error}");
    let error = fetch("file:///a.png", &LIMITS, &silent).unwrap_err();
    assert_eq!(error.code(), "bad-url", "{error}");

    for (behaviour, kind) in [
        (Behaviour::Status(404, None, String::new()), Kind::Input),
        (Behaviour::Status(503, None, String::new()), Kind::Retry),
        (Behaviour::Disconnect, Kind::Retry),
        (Behaviour::CutOff("x".repeat(100)), Kind::Retry),
        (Behaviour::Slow(Duration::from_secs(9), Box::new(Behaviour::Disconnect)), Kind::Retry),
    ] {
        let once = Mutex::new(Some(behaviour));
        let endpoint = Endpoint::start(move |_, _| once.lock().unwrap().take().unwrap());
        let limits = Limits { time: Duration::from_millis(300), ..LIMITS };
        let error = fetch(&endpoint.url(), &limits, &silent).unwrap_err();
        assert_eq!((error.code(), error.kind()), ("image-unreachable", kind), "{error}");
        assert!(error.help_text().is_some(), "{error}");
    }
}

#[test]
fn pictures_of_private_networks_are_refused() {
    let endpoint = Endpoint::start(|_, _| Behaviour::Bytes(vec![7]));
    let silent = Progress::silent();
    let guarded = Limits { allow_private: false, ..LIMITS };
    let port = endpoint.url().rsplit(':').next().unwrap().to_owned();
    // The last are other spellings of 127.0.0.1.
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"] {
        let error = fetch(&format!("http://{host}:{port}"), &guarded, &silent).unwrap_err();
        assert_eq!(error.code(), "private-address", "{host}: {error}");
        assert!(error.help_text().unwrap().contains("allow_private"), "{error}");
    }
    assert_eq!(endpoint.count(), 0);
    assert_eq!(fetch(&endpoint.url(), &LIMITS, &silent).unwrap(), [7]);
}

#[test]
fn redirects_are_followed_so_far_and_only_to_public_numbers() {
    let silent = Progress::silent();
    // 127.0.0.2 is this machine too, and stands for the private network here.
    let allows = |ip: IpAddr| ip.to_string() == "127.0.0.1";
    let endpoint = Endpoint::start(|_, _| Behaviour::Bytes(vec![7]));
    let (inside, outside) = (endpoint.url(), endpoint.url().replace("127.0.0.1", "127.0.0.2"));
    for (to, code) in
        [(inside, ""), (outside, "private-address"), ("ftp://a/b".to_owned(), "bad-url")]
    {
        let leading = Endpoint::start(move |_, _| Behaviour::Redirect(to.clone()));
        let fetched = fetch::fetch_from(&leading.url(), &LIMITS, allows, &silent);
        assert_eq!(fetched.map_or_else(|error| error.code(), |_| ""), code);
        assert_eq!(leading.count(), 1);
    }
    assert_eq!(endpoint.count(), 1);

    let round = Endpoint::start(|_, _| Behaviour::Redirect("/again".to_owned()));
    let error = fetch(&round.url(), &LIMITS, &silent).unwrap_err();
    assert_eq!((error.code(), round.count()), ("image-unreachable", 3), "{error}");
    assert!(error.message().contains("more than 2 times"), "{error}");
}
