//! Conversations as the one text that a model was trained on: the Jinja template that comes with its weights.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde_json::Value as Json;

use super::folder::Folder;
use super::language::Gguf;
use super::{Ask, Turn};
use crate::error::{Error, Result};

/// The date that templates are told. An answer must not depend on the day on which it is asked for.
const DATE: &str = "26 Jul 2024";

/// The template of a model.
pub(super) struct ChatTemplate {
    /// The compiled template; nothing for a model that only continues texts.
    compiled: Option<Environment<'static>>,
    /// Tokens that templates name.
    begin: String,
    end: String,
}

impl ChatTemplate {
    /// The template beside the weights of a folder.
    pub(super) fn of_folder(folder: &Folder) -> Result<ChatTemplate> {
        let card = folder.json("tokenizer_config.json")?.unwrap_or_default();
        let source = match folder.text("chat_template.jinja")? {
            Some(source) => Some(source),
            None => default_of(&card["chat_template"]),
        };
        let token = |name: &str| {
            let said = &card[name];
            said.as_str().or(said["content"].as_str()).unwrap_or_default().to_owned()
        };
        ChatTemplate::new(source, token("bos_token"), token("eos_token"))
    }

    /// The template in the metadata of a GGUF file.
    pub(super) fn of_gguf(gguf: &Gguf) -> Result<ChatTemplate> {
        let token = |name: &str| gguf.token(&format!("tokenizer.ggml.{name}_token_id"));
        let source = gguf.text("tokenizer.chat_template");
        ChatTemplate::new(
            source,
            token("bos").unwrap_or_default(),
            token("eos").unwrap_or_default(),
        )
    }

    fn new(source: Option<String>, begin: String, end: String) -> Result<ChatTemplate> {
        let compiled = source.map(compile).transpose().map_err(|error| bad(&error))?;
        Ok(ChatTemplate { compiled, begin, end })
    }

    /// Whether the text holds all tokens that a prompt begins with.
    pub(super) fn is_whole(&self) -> bool {
        self.compiled.is_some()
    }

    /// The text of a question.
    pub(super) fn render(&self, ask: &Ask<'_>) -> Result<String> {
        let Some(compiled) = &self.compiled else {
            return Ok(plain(ask));
        };
        let mut said: Vec<(&str, String)> = ask.turns.iter().map(said).collect();
        if ask.system.is_empty() {
            return self.fill(compiled, &said).map_err(|error| bad(&error));
        }
        said.insert(0, ("system", ask.system.to_owned()));
        self.fill(compiled, &said).or_else(|error| {
            // Some models know no system: then the user says it.
            let (_, system) = said.remove(0);
            let first = said.first_mut().ok_or_else(|| bad(&error))?;
            first.1 = format!("{system}\n\n{}", first.1);
            self.fill(compiled, &said).map_err(|_| bad(&error))
        })
    }

    fn fill(
        &self,
        compiled: &Environment<'static>,
        said: &[(&str, String)],
    ) -> Result<String, minijinja::Error> {
        let message = |(role, text): &(&str, String)| context! { role => *role, content => text };
        let messages: Vec<Value> = said.iter().map(message).collect();
        compiled.get_template("chat")?.render(context! {
            messages => messages,
            add_generation_prompt => true,
            enable_thinking => false,
            bos_token => self.begin.as_str(),
            eos_token => self.end.as_str(),
        })
    }
}

/// Who says a turn, and what.
fn said(turn: &Turn) -> (&'static str, String) {
    match turn {
        Turn::User(text) => ("user", text.clone()),
        Turn::Model(text) => ("assistant", text.clone()),
    }
}

/// A conversation for a model that only continues texts.
fn plain(ask: &Ask<'_>) -> String {
    let turns = ask.turns.iter().map(|turn| match turn {
        Turn::User(text) | Turn::Model(text) => text.as_str(),
    });
    let parts = std::iter::once(ask.system).chain(turns).filter(|part| !part.is_empty());
    parts.flat_map(|part| [part, "\n\n"]).collect()
}

/// The template to use, of one or of several with names.
fn default_of(said: &Json) -> Option<String> {
    let named = said.as_array().and_then(|all| all.iter().find(|one| one["name"] == "default"));
    said.as_str().or(named.and_then(|one| one["template"].as_str())).map(str::to_owned)
}

/// Compiles a template as `transformers` does: blocks take their line breaks, and texts have Python's methods.
fn compile(source: String) -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    environment.set_syntax(syntax);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<String, _> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |_format: String| DATE);
    environment.add_template_owned("chat", source)?;
    Ok(environment)
}

fn bad(error: &minijinja::Error) -> Error {
    Error::input("bad-model", format!("the chat template of the model: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate::new(Some(source.to_owned()), "<s>".to_owned(), "</s>".to_owned()).unwrap()
    }

    fn ask<'a>(system: &'a str, turns: &'a [Turn]) -> Ask<'a> {
        Ask { system, turns, picture: None, schema: None, max_tokens: 10 }
    }

    fn turns() -> Vec<Turn> {
        vec![
            Turn::User("one".into()),
            Turn::Model("</think>two ".into()),
            Turn::User("three".into()),
        ]
    }

    /// What templates of today use: methods of texts, slices, namespaces, line breaks after blocks.
    const MODERN: &str = "{{- bos_token }}
{%- set ns = namespace(last=0) %}
{%- for message in messages[::-1] %}
    {%- if message.role == 'user' and ns.last == 0 %}{% set ns.last = messages|length - 1 - loop.index0 %}{% endif %}
{%- endfor %}
{%- for message in messages %}
{%- set content = message.content.split('</think>')[-1].strip() %}
{{- '<|' + message['role'] + '|>' + content + '\\n' }}
    {%- if loop.index0 == ns.last %}{{ '(last)' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|>' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think></think>' }}
    {%- endif %}
{%- endif %}";

    #[test]
    fn a_template_of_today() {
        let text = template(MODERN).render(&ask("be brief", &turns())).unwrap();
        assert_eq!(
            text,
            "<s><|system|>be brief\n<|user|>one\n<|assistant|>two\n<|user|>three\n(last)\
             <|assistant|><think></think>"
        );
    }

    #[test]
    fn a_system_that_is_refused_is_said_by_the_user() {
        let strict = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no \
                      system') }}{% endif %}[{{ m.role }}] {{ m.content | trim }}\n{% endfor %}";
        let text = template(strict).render(&ask("be brief", &turns()[..1])).unwrap();
        assert_eq!(text, "[user] be brief\n\none\n");
        let never = template("{{ raise_exception('never') }}");
        let error = never.render(&ask("", &turns())).unwrap_err();
        assert!(error.message().contains("never"), "{error}");
    }

    #[test]
    fn the_date_never_changes() {
        let dated = template("{{ strftime_now('%d %b %Y') }}");
        assert_eq!(dated.render(&ask("", &[])).unwrap(), DATE);
    }

    #[test]
    fn without_a_template_texts_follow_each_other() {
        let none = ChatTemplate::new(None, String::new(), String::new()).unwrap();
        assert_eq!(none.render(&ask("be brief", &turns()[..1])).unwrap(), "be brief\n\none\n\n");
        assert!(ChatTemplate::new(Some("{% if %}".into()), String::new(), String::new()).is_err());
    }

    #[test]
    fn one_of_several_templates() {
        let several =
            json!([{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}]);
        assert_eq!(default_of(&several).as_deref(), Some("b"));
        assert_eq!(default_of(&json!("c")).as_deref(), Some("c"));
        assert_eq!(default_of(&Json::Null), None);
    }
}
