//! Chat templates: a conversation as the one text that a model was trained on.
//!
//! Templates are Jinja, as Hugging Face keeps them in `tokenizer_config.json` or `chat_template.jinja`, and GGUF files
//! in their metadata. A template that refuses a system turn gets its words before the first question.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error as JinjaError, ErrorKind, Value, context};

use super::Turn;
use crate::error::{Error, Result};

/// The name of the only template of an environment.
const NAME: &str = "chat";

/// For a model without a template: the words, one after the other.
const PLAIN: &str = "{% for message in messages %}{{ message['content'] }}\n\n{% endfor %}";

/// A template, ready to render.
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    begin: String,
    end: String,
}

impl ChatTemplate {
    /// Reads a template; `begin` and `end` are the tokens that it may name as `bos_token` and `eos_token`.
    pub(super) fn read(source: Option<&str>, begin: &str, end: &str) -> Result<Self> {
        let mut environment = Environment::new();
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        // As Hugging Face renders them.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(bad)?);
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<String, JinjaError> {
                Err(JinjaError::new(ErrorKind::InvalidOperation, message))
            },
        );
        // Some templates name the day; an answer must not depend on it.
        environment.add_function("strftime_now", |_format: String| "1 January 2024");
        let source = source.unwrap_or(PLAIN).to_owned();
        environment.add_template_owned(NAME, source).map_err(bad)?;
        Ok(ChatTemplate { environment, begin: begin.to_owned(), end: end.to_owned() })
    }

    /// The conversation, up to where the model goes on.
    pub(super) fn render(&self, system: &str, turns: &[Turn]) -> Result<String> {
        let said = turns.iter().map(|turn| match turn {
            Turn::User(text) => ("user", text.clone()),
            Turn::Model(text) => ("assistant", text.clone()),
        });
        let mut said: Vec<(&str, String)> = said.collect();
        let with_system: Vec<(&str, String)> =
            std::iter::once(("system", system.to_owned())).chain(said.iter().cloned()).collect();
        self.fill(&with_system).or_else(|_| {
            if let Some((_, first)) = said.first_mut() {
                *first = format!("{system}\n\n{first}");
            }
            self.fill(&said).map_err(bad)
        })
    }

    fn fill(&self, messages: &[(&str, String)]) -> Result<String, JinjaError> {
        let message =
            |(role, content): &(&str, String)| context! { role => *role, content => content };
        self.environment.get_template(NAME)?.render(context! {
            messages => messages.iter().map(message).collect::<Value>(),
            add_generation_prompt => true,
            enable_thinking => false,
            bos_token => &self.begin,
            eos_token => &self.end,
        })
    }
}

fn bad(error: JinjaError) -> Error {
    Error::input("bad-model", format!("the chat template: {error:#}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn turns() -> [Turn; 3] {
        [
            Turn::User("Why?".to_owned()),
            Turn::Model("So.".to_owned()),
            Turn::User("Again.".to_owned()),
        ]
    }

    #[test]
    fn roles_become_marks() {
        let chat_ml = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + \
                       message['content'].strip() + '<|im_end|>' + '\\n' }}{% endfor %}\
                       {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
        let template = ChatTemplate::read(Some(chat_ml), "", "").unwrap();
        let text = template.render("Be brief.", &turns()[..1]).unwrap();
        let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n\
                        <|im_start|>assistant\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_template_without_a_system_turn_gets_the_words_all_the_same() {
        let gemma = "{{ bos_token }}{% if messages[0]['role'] == 'system' %}\
                     {{ raise_exception('no system role') }}{% endif %}\
                     {% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n\
                     {% endfor %}";
        let template = ChatTemplate::read(Some(gemma), "<bos>", "").unwrap();
        let text = template.render("Be brief.", &turns()).unwrap();
        assert!(text.starts_with("<bos>[user] Be brief.\n\nWhy?\n"), "{text}");
        assert!(text.contains("[assistant] So."), "{text}");
        let plain = ChatTemplate::read(None, "", "").unwrap();
        assert_eq!(plain.render("A", &turns()[..1]).unwrap(), "A\n\nWhy?\n\n");
    }

    #[test]
    fn a_broken_template_is_told_when_the_model_is_opened() {
        let error = ChatTemplate::read(Some("{% for %}"), "", "").err().unwrap();
        assert_eq!(error.code(), "bad-model");
        assert!(error.message().contains("chat template"), "{error}");
    }
}
