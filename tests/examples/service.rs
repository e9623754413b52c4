//! A web service that embeds sidql and answers `GET /recommend/{user}?count=5` with JSON.
//!
//! `cargo run --example service -- shop.sidql graph` serves the trained policy `graph` of a file on port 3000.

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use sidql::{Database, Error, ErrorKind, Recommender};

/// Recommendations where the caller names no count, and the most that are given.
const COUNT: usize = 10;
const MOST: usize = 100;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(file), Some(policy)) = (args.next(), args.next()) else {
        return Err("usage: service FILE POLICY".into());
    };
    let db = Database::builder().read_only(true).open(file)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app(db.recommender(&policy)?)).await?)
}

/// The routes. A recommender is cheap to clone and needs no lock.
pub(crate) fn app(policy: Recommender) -> Router {
    Router::new().route("/recommend/{user}", get(recommend)).with_state(policy)
}

async fn recommend(
    State(policy): State<Recommender>,
    Path(user): Path<String>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let count = match asked.get("count").map(|text| text.parse::<usize>()) {
        None => COUNT,
        Some(Ok(count @ 1..=MOST)) => count,
        Some(_) => {
            let error = Error::input("bad-count", format!("count is a number from 1 to {MOST}"));
            return refusal(&error);
        }
    };
    // The engine computes: it must not hold up the threads that serve.
    let answer = tokio::task::spawn_blocking(move || policy.for_user(&user, count)).await;
    match answer {
        Ok(Ok(items)) => {
            let items = items.iter().map(|(item, score)| json!({"item": item, "score": score}));
            Json(items.collect::<Vec<_>>()).into_response()
        }
        Ok(Err(error)) => refusal(&error),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// An error with its stable code, and the status that its kind stands for.
fn refusal(error: &Error) -> Response {
    let status = match (error.code(), error.kind()) {
        ("unknown-user", _) => StatusCode::NOT_FOUND,
        (_, ErrorKind::Input) => StatusCode::BAD_REQUEST,
        (_, ErrorKind::Retry) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let told = json!({"code": error.code(), "message": error.message(), "help": error.help_text()});
    (status, Json(told)).into_response()
}
