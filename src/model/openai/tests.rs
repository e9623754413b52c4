//! A model behind an endpoint: what it sends, what it makes of the answers, and when it stops.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Barrier;
use std::time::Instant;

use image::{Rgb, RgbImage};

use super::*;
use crate::model::endpoint::{Behaviour, Endpoint, vectors};
use crate::model::picture::Picture;
use crate::options::Given;

/// The options of a model of the endpoint, with some others in place of the defaults.
fn config(endpoint: &Endpoint, others: Json) -> Json {
    let mut config = json!({"url": endpoint.url(), "name": "small", "timeout": 5, "retries": 1});
    for (name, value) in others.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

fn opened(endpoint: &Endpoint, others: Json) -> Model {
    open(&config(endpoint, others)).unwrap()
}

fn chat(endpoint: &Endpoint, others: Json) -> Arc<dyn Chat> {
    opened(endpoint, others).chat.unwrap()
}

fn encoder(endpoint: &Endpoint, others: Json) -> Arc<dyn Encoder> {
    opened(endpoint, others).text.unwrap()
}

fn asks(
    chat: &dyn Chat,
    text: &str,
    schema: Option<(&'static str, &'static str)>,
) -> Result<Reply> {
    let turns = [Turn::User(text.to_owned())];
    let ask = Ask { system: "be brief", turns: &turns, picture: None, schema, max_tokens: 100 };
    chat.ask(&ask, &Progress::silent())
}

fn says(text: &str) -> Behaviour {
    Behaviour::Answer(text.to_owned())
}

const SCHEMA: Option<(&str, &str)> = Some(("evidence", r#"{"type": "object"}"#));

#[test]
fn a_question_is_sent_whole_and_prose_comes_back_as_it_is() {
    let endpoint = Endpoint::start(|_, _| says("it is a ball"));
    let prices = json!({"price_read": 1000.0, "price_written": 100_000.0, "max_tokens": 50});
    let chat = chat(&endpoint, prices);
    let turns = [
        Turn::User("what is it?".to_owned()),
        Turn::Model("hm".to_owned()),
        Turn::User("say it".to_owned()),
    ];
    let ask =
        Ask { system: "be brief", turns: &turns, picture: None, schema: SCHEMA, max_tokens: 90 };
    let reply = chat.ask(&ask, &Progress::silent()).unwrap();
    assert_eq!(reply.text, "it is a ball");
    // The endpoint counts the words of the first turn and of its answer.
    assert_eq!((reply.usage.read, reply.usage.written), (3, 4));
    assert!((reply.usage.cost - 0.403).abs() < 1e-9, "{}", reply.usage.cost);
    let asked = &endpoint.asked()[0];
    assert_eq!((asked.path.as_str(), &asked.authorization), ("/v1/chat/completions", &None));
    let schema = json!({"name": "evidence", "schema": {"type": "object"}, "strict": true});
    let expected = json!({
        "model": "small",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "what is it?"},
            {"role": "assistant", "content": "hm"},
            {"role": "user", "content": "say it"},
        ],
        "max_tokens": 50,
        "temperature": 0.0,
        "response_format": {"type": "json_schema", "json_schema": schema},
    });
    assert_eq!(asked.body, expected);
}

#[test]
fn a_picture_arrives_as_a_data_url() {
    let endpoint = Endpoint::start(|_, _| says("red"));
    let chat = chat(&endpoint, json!({}));
    let picture = Picture { pixels: RgbImage::from_pixel(3000, 10, Rgb([200, 0, 0])) };
    let turns = [Turn::User("which colour?".to_owned()), Turn::User("really?".to_owned())];
    let ask =
        Ask { system: "", turns: &turns, picture: Some(&picture), schema: None, max_tokens: 9 };
    chat.ask(&ask, &Progress::silent()).unwrap();
    let body = &endpoint.asked()[0].body;
    assert!(body.get("response_format").is_none());
    let parts = &body["messages"][0]["content"];
    assert_eq!(parts[0], json!({"type": "text", "text": "which colour?"}));
    assert_eq!(body["messages"][1]["content"], "really?");
    let url = parts[1]["image_url"]["url"].as_str().unwrap();
    let bytes = STANDARD.decode(url.strip_prefix("data:image/jpeg;base64,").unwrap()).unwrap();
    let seen = image::load_from_memory(&bytes).unwrap().into_rgb8();
    assert_eq!(seen.dimensions(), (1024, 3));
    let Rgb([red, green, blue]) = *seen.get_pixel(500, 1);
    assert!(red > 190 && green < 20 && blue < 20, "{red} {green} {blue}");
}

/// The forms in which an endpoint that refuses some was asked, one letter each.
fn forms(endpoint: &Endpoint) -> String {
    let form = |body: &Json| match body["response_format"]["type"].as_str() {
        Some("json_schema") => 's',
        Some("json_object") => 'o',
        Some(_) => '?',
        None => '-',
    };
    endpoint.asked().iter().map(|asked| form(&asked.body)).collect()
}

#[test]
fn auto_settles_on_a_form_that_is_not_refused() {
    let refusing = |refused: &'static [&'static str], status: u16| {
        Endpoint::start(move |request, _| {
            let form = request["response_format"]["type"].as_str().unwrap_or_default();
            if request["messages"][1]["content"] == "bad" || refused.contains(&form) {
                Behaviour::Status(status, None, "no".to_owned())
            } else {
                says("{}")
            }
        })
    };
    let cases: [(&[&str], u16, &str); 5] = [
        (&[], 400, "ss"),
        (&["json_schema"], 400, "soo"),
        (&["json_schema", "json_object"], 422, "so--"),
        (&["json_schema"], 404, "soo"),
        (&["json_schema"], 501, "soo"),
    ];
    for (refused, status, expected) in cases {
        let endpoint = refusing(refused, status);
        let chat = chat(&endpoint, json!({}));
        asks(&*chat, "first", SCHEMA).unwrap();
        asks(&*chat, "second", SCHEMA).unwrap();
        assert_eq!(forms(&endpoint), expected);
        // It has settled, so this refusal has other reasons.
        assert_eq!(asks(&*chat, "bad", SCHEMA).unwrap_err().code(), "endpoint-refused");
        assert_eq!(endpoint.count(), expected.len() + 1);
        asks(&*chat, "plain", None).unwrap();
        assert!(forms(&endpoint).ends_with('-'));
    }
    let endpoint = refusing(&["json_schema"], 401);
    let error = asks(&*chat(&endpoint, json!({})), "first", SCHEMA).unwrap_err();
    assert_eq!((error.code(), endpoint.count()), ("endpoint-refused", 1));
    assert!(error.help_text().unwrap().contains("key_env"), "{error}");
    for (structured, expected) in [("json_schema", "s"), ("json_object", "o"), ("none", "-")] {
        let endpoint = refusing(&["json_schema"], 400);
        let chat = chat(&endpoint, json!({"structured": structured}));
        assert_eq!(asks(&*chat, "first", SCHEMA).is_ok(), structured != "json_schema");
        assert_eq!(forms(&endpoint), expected);
    }
}

#[test]
fn answers_of_another_shape_are_bad() {
    let cut = json!({"choices": [{"message": {"content": "half"}, "finish_reason": "length"}]});
    let silent = json!({"choices": [{"message": {"content": null}}]});
    for (raw, requests, words) in [
        (json!({"result": "fine"}), 2, "missing field `choices`"),
        (json!({"choices": []}), 1, "without text"),
        (silent, 1, "without text"),
        (cut, 1, "cut off after 100 tokens"),
    ] {
        let endpoint = Endpoint::start(move |_, _| Behaviour::Raw(raw.to_string()));
        let error = asks(&*chat(&endpoint, json!({})), "x", None).unwrap_err();
        assert_eq!((error.code(), endpoint.count()), ("bad-answer", requests), "{error}");
        assert!(error.message().contains(words), "{error}");
    }
}

#[test]
fn a_spent_budget_stops_all() {
    // Two words are read and nine written each time.
    let endpoint = Endpoint::start(|_, _| says("a b c d e f g h i"));
    let model = opened(&endpoint, json!({"budget_tokens": 20}));
    let chat = model.chat.unwrap();
    for _ in 0..2 {
        asks(&*chat, "two words", None).unwrap();
    }
    let error = asks(&*chat, "two words", None).unwrap_err();
    assert_eq!((error.code(), error.kind()), ("budget-spent", ErrorKind::Resource));
    assert_eq!(error.message(), "the budget of 20 tokens is spent: 22 were used");
    assert!(error.help_text().unwrap().contains("RESUME JOB"));
    let encoded = model.text.unwrap().encode(&["x"], &Progress::silent());
    assert_eq!(encoded.unwrap_err().code(), "budget-spent");
    assert_eq!(endpoint.count(), 2);

    let money = json!({"budget_cost": 0.01, "price_read": 1000.0, "price_written": 1000.0});
    let chat = self::chat(&endpoint, money);
    asks(&*chat, "two words", None).unwrap();
    let error = asks(&*chat, "two words", None).unwrap_err();
    assert_eq!(error.message(), "the budget of 0.01 is spent: 0.0110 was used");
}

#[test]
fn usage_is_estimated_where_the_endpoint_does_not_count() {
    let raw = json!({"choices": [{"message": {"content": "12345"}}]}).to_string();
    let endpoint = Endpoint::start(move |_, _| Behaviour::Raw(raw.clone()));
    // `be brief` and the question are 8 and 4 letters.
    let reply = asks(&*chat(&endpoint, json!({})), "1234", None).unwrap();
    assert_eq!(reply.usage, Usage { read: 3, written: 2, cost: 0.0 });
}

#[test]
fn many_ask_at_once() {
    // Nobody is answered before all have asked.
    let all = Barrier::new(64);
    let endpoint = Endpoint::start(move |_, _| {
        all.wait();
        says("yes")
    });
    let chat = chat(&endpoint, json!({"concurrency": 64, "timeout": 30, "retries": 0}));
    assert_eq!(chat.workers(), 64);
    std::thread::scope(|scope| {
        for worker in 0..64 {
            let chat = &chat;
            scope.spawn(move || asks(&**chat, &format!("item {worker}"), None).unwrap());
        }
    });
    assert_eq!((endpoint.most_at_once(), endpoint.count()), (64, 64));
    assert_eq!(endpoint.count_of("item 7"), 1);
}

#[test]
fn a_hanging_question_is_cancelled_within_a_second() {
    let wait = Duration::from_mins(1);
    let endpoint = Endpoint::start(move |_, _| Behaviour::Slow(wait, Box::new(says("late"))));
    let model = opened(&endpoint, json!({"timeout": 60}));
    let progress = Progress::silent();
    let stop = progress.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        stop.stop();
    });
    let began = Instant::now();
    let turns = [Turn::User("x".to_owned())];
    let ask = Ask { system: "", turns: &turns, picture: None, schema: SCHEMA, max_tokens: 1 };
    assert!(model.chat.unwrap().ask(&ask, &progress).unwrap_err().is_cancelled());
    assert!(model.text.unwrap().encode(&["x"], &progress).unwrap_err().is_cancelled());
    assert!(began.elapsed() < Duration::from_millis(1200), "{:?}", began.elapsed());
}

#[test]
fn vectors_come_in_order_and_of_unit_length() {
    // Each text is its own number; the answer is upside down.
    let endpoint = Endpoint::start(|request, _| {
        let texts = request["input"].as_array().unwrap().iter().enumerate();
        let mut data: Vec<Json> = texts
            .map(|(index, text)| {
                let number: f32 = text.as_str().unwrap().parse().unwrap_or(1.0);
                json!({"index": index, "embedding": [3.0 * number, 0.0, 4.0]})
            })
            .collect();
        data.reverse();
        Behaviour::Raw(json!({"data": data}).to_string())
    });
    let encoder = encoder(&endpoint, json!({"batch": 3, "concurrency": 2, "query_prefix": "1"}));
    assert!(encoder.remote());
    let silent = Progress::silent();
    let texts: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    texts.insert(5, " ");
    let vectors = encoder.encode(&texts, &silent).unwrap();
    assert_eq!(vectors.len(), 33);
    for (row, text) in vectors.chunks(3).zip(&texts) {
        let Ok(number) = text.parse::<f32>() else {
            assert_eq!(row, [0.0; 3]);
            continue;
        };
        let length = (9.0 * number * number + 16.0).sqrt();
        let expected = [3.0 * number / length, 0.0, 4.0 / length];
        assert!(row.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{text}: {row:?}");
    }
    let mut batches: Vec<usize> = endpoint
        .asked()
        .iter()
        .map(|asked| asked.body["input"].as_array().unwrap().len())
        .collect();
    batches.sort_unstable();
    assert_eq!(batches, [1, 3, 3, 3]);
    let body = &endpoint.asked()[0].body;
    assert_eq!((&body["model"], &body["encoding_format"]), (&json!("small"), &json!("float")));
    assert_eq!(encoder.dim().unwrap(), 3);
    assert_eq!(endpoint.count(), 4);
    let query = encoder.encode_query("0", &silent).unwrap();
    assert_eq!(query, encoder.encode(&["10"], &silent).unwrap());
}

#[test]
fn the_endpoint_tells_the_components_of_a_vector_once() {
    let endpoint = Endpoint::start(|request, _| vectors(request, 16));
    let encoder = self::encoder(&endpoint, json!({}));
    assert_eq!(encoder.dim().unwrap(), 16);
    assert_eq!(encoder.dim().unwrap(), 16);
    assert_eq!(endpoint.count_of("sidql"), 1);
    assert_eq!(encoder.encode(&[""], &Progress::silent()).unwrap(), [0.0; 16]);
    assert_eq!(endpoint.count(), 1);
    let wrong = self::encoder(&endpoint, json!({"dim": 12}));
    assert_eq!(wrong.dim().unwrap(), 12);
    let error = wrong.encode(&["ball"], &Progress::silent()).unwrap_err();
    assert_eq!(error.code(), "bad-answer");
    assert_eq!(error.message(), "the endpoint gave vectors of 16 components, not 12");
    assert!(error.help_text().unwrap().contains("dim"));
}

#[test]
fn vectors_that_are_none_are_refused() {
    let one =
        |index: u64, embedding: &str| format!(r#"{{"index": {index}, "embedding": {embedding}}}"#);
    for data in [
        format!("{}, {}", one(0, "[1, 2]"), one(1, "[1]")),
        format!("{}, {}", one(0, "[1, 2]"), one(0, "[1, 2]")),
        format!("{}, {}", one(0, "[1, 2]"), one(2, "[1, 2]")),
        format!("{}, {}", one(0, "[1, 2]"), one(1, "[1, 1e39]")),
        format!("{}, {}", one(0, "[1, 2]"), one(1, "[1, null]")),
        format!("{}, {}", one(0, "[]"), one(1, "[]")),
        one(0, "[1, 2]"),
        one(0, r#""AACAPw==""#),
    ] {
        let raw = format!(r#"{{"data": [{data}]}}"#);
        let endpoint = Endpoint::start(move |_, _| Behaviour::Raw(raw.clone()));
        let encoder = encoder(&endpoint, json!({"retries": 0}));
        let error = encoder.encode(&["a", "b"], &Progress::silent()).unwrap_err();
        assert_eq!(error.code(), "bad-answer", "{data}: {error}");
    }
}

#[test]
fn options_are_checked() {
    let given = |others: Json| -> Vec<Given> {
        let fields = others.as_object().unwrap().clone().into_iter();
        fields.map(|(name, value)| Given { name, value, span: 0..1 }).collect()
    };
    let code = |others: Json| (KIND.config)(&given(others)).err().map(|error| error.code());
    assert_eq!(code(json!({})), None);
    assert_eq!(code(json!({"url": "http://a/v1", "name": "m"})), None);
    assert_eq!(code(json!({"name": "m"})), Some("no-url"));
    assert_eq!(code(json!({"url": "http://a/v1"})), Some("no-name"));
    let bad = |name: &str, value: Json| {
        let mut fields = json!({"url": "http://a/v1", "name": "m"});
        fields[name] = value;
        code(fields)
    };
    let secret = json!("http://ann:s3cret@a/v1");
    assert_eq!(bad("url", secret.clone()), Some("bad-url"));
    let error = (KIND.config)(&given(json!({"url": secret, "name": "m"}))).unwrap_err();
    assert!(!error.to_string().contains("s3cret"), "{error}");
    assert!(error.help_text().unwrap().contains("key_env"), "{error}");
    for (name, value) in [
        ("timeout", json!(0)),
        ("retries", json!(21)),
        ("concurrency", json!(0)),
        ("concurrency", json!(1025)),
        ("max_tokens", json!(0)),
        ("temperature", json!(2.5)),
        ("temperature", json!(-0.1)),
        ("price_read", json!(-1.0)),
        ("dim", json!(70_000)),
        ("batch", json!(0)),
        ("structured", json!("yaml")),
    ] {
        assert_eq!(bad(name, value.clone()), Some("bad-option"), "{name} = {value}");
    }
    assert_eq!(bad("structured", json!("json_object")), None);
}

#[test]
fn a_model_is_told_by_address_and_name_and_its_key_must_be_there() {
    let config = json!({"url": "http://a/v1/", "name": "m", "key_env": "SIDQL_TEST_NO_SUCH_KEY"});
    assert_eq!(fingerprint(&config, &Progress::silent()).unwrap(), "http://a/v1 m");
    assert_eq!(open(&config).err().unwrap().code(), "no-key");
    assert_eq!(open(&json!({})).err().unwrap().code(), "no-url");
}
