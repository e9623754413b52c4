//! `.param`: values that stand for `$name` in statements.

use sidql::Value;

use super::dot::Answer;
use super::shell::Shell;

/// How the command is called.
pub(super) const USAGE: &str = "[set NAME VALUE | unset NAME | clear]";

/// Lists, sets or forgets parameters.
pub(super) fn param(shell: &mut Shell, words: &[String]) -> Answer {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let params = &mut shell.settings.params;
    match words.as_slice() {
        [] | ["list"] => {
            let lines = params.iter().map(|(name, value)| format!("${name} = {}\n", typed(value)));
            let text: String = lines.collect();
            return super::dot::write(shell, &text);
        }
        ["clear"] => params.clear(),
        ["unset", name] => {
            if params.remove(bare(name)).is_none() {
                return Answer::Refused(format!("there is no parameter ${}", bare(name)));
            }
        }
        ["set", name, value @ ..] | [name, value @ ..] if !value.is_empty() => {
            match read(&value.join(" ")) {
                Ok(value) => {
                    params.insert(bare(name).to_owned(), value);
                }
                Err(message) => return Answer::Refused(message),
            }
        }
        _ => return Answer::Refused(format!("say .param {USAGE}")),
    }
    Answer::Done
}

/// A name with or without its `$`.
fn bare(name: &str) -> &str {
    name.strip_prefix('$').unwrap_or(name)
}

/// A value as it was typed: null, truth, number, `[…]` of JSON, else text.
fn read(text: &str) -> Result<Value, String> {
    if text.starts_with('[') {
        let wrong = |error| format!("`{text}` is no list: {error}");
        let list: Vec<serde_json::Value> = serde_json::from_str(text).map_err(wrong)?;
        // As everywhere, a list of numbers is a vector.
        let numbers: Option<Vec<f32>> =
            list.iter().map(|one| one.as_f64().map(|x| x as f32)).collect();
        return Ok(match numbers.filter(|numbers| !numbers.is_empty()) {
            Some(numbers) => Value::Vector(numbers),
            None => Value::List(list.iter().map(of_json).collect()),
        });
    }
    Ok(match text.to_ascii_lowercase().as_str() {
        "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        lower => match (text.parse::<i64>(), lower.parse::<f64>()) {
            (Ok(int), _) => Value::Int(int),
            (_, Ok(float)) if float.is_finite() => Value::Float(float),
            _ => Value::from(text),
        },
    })
}

fn of_json(json: &serde_json::Value) -> Value {
    match json.as_str() {
        Some(text) => Value::from(text),
        None => Value::from(json.to_string()),
    }
}

/// A value as it can be typed again.
fn typed(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Text(text) => format!("'{text}'"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_the_type_that_it_looks_like() {
        let cases = [
            ("30", Value::Int(30)),
            ("1.5", Value::Float(1.5)),
            ("nan", "nan".into()),
            ("NULL", Value::Null),
            ("true", true.into()),
            ("Nike", "Nike".into()),
            ("[0.5, 1]", vec![0.5_f32, 1.0].into()),
            ("[\"a\", \"b\"]", vec!["a".to_owned(), "b".to_owned()].into()),
            ("[]", Value::List(Vec::new())),
        ];
        for (text, value) in cases {
            assert_eq!(read(text), Ok(value), "{text}");
        }
        assert!(read("[1,").is_err());
    }
}
