//! The example of a web service, asked over the network as its users would.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value as Json;

use crate::support::toy::{coded, run};

#[path = "examples/service.rs"]
#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "a program of its own, whose routes are a test here"
)]
mod example;

/// The status and the body of an answer.
fn get(address: SocketAddr, path: &str) -> (u16, Json) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[test]
fn a_service_recommends() {
    let (db, _folder) = coded();
    run(&db, "CREATE POLICY graph USING item_graph");
    run(&db, "TRAIN POLICY graph");
    let expected = db.recommend("graph", "u1", 3).unwrap();
    let app = example::app(db.recommender("graph").unwrap());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, app).await });

    let (status, body) = get(address, "/recommend/u1?count=3");
    let items: Vec<&str> =
        body.as_array().unwrap().iter().map(|one| one["item"].as_str().unwrap()).collect();
    let wanted: Vec<&str> = expected.iter().map(|(item, _)| item.as_str()).collect();
    assert_eq!((status, items), (200, wanted));
    assert_eq!(get(address, "/recommend/u2").1.as_array().unwrap().len(), 10);
    let (status, body) = get(address, "/recommend/nobody");
    assert_eq!((status, body["code"].as_str()), (404, Some("unknown-user")));
    let (status, body) = get(address, "/recommend/u1?count=many");
    assert_eq!((status, body["code"].as_str()), (400, Some("bad-count")));
}
