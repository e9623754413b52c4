//! Text to tokens. What is no token becomes [`TokenKind::Bad`], so that the parser can still
//! report an earlier mistake, and the shell can still find the ends of statements.

use crate::span::Span;
use crate::token::{BadToken, Token, TokenKind};

/// The marks, the longer ones first.
const SYMBOLS: &[&str] = &[
    "!=", "<>", "<=", ">=", "(", ")", "[", "]", "{", "}", ",", ".", ":", ";", "=", "<", ">", "-",
    "*",
];

/// The tokens of one statement of a text.
pub(crate) struct Piece<'t> {
    /// Its tokens without the `;`.
    pub(crate) tokens: &'t [Token<'t>],
    /// The place of the `;`, or the place behind the last token.
    pub(crate) end: Span,
    /// Whether there is a `;`.
    pub(crate) terminated: bool,
}

impl<'t> Piece<'t> {
    /// The statement of a text without any.
    pub(crate) fn blank(text: &str, tokens: &'t [Token<'t>]) -> Self {
        Piece { tokens: &tokens[..0], end: text.len()..text.len(), terminated: false }
    }

    /// The place of the statement without the `;`.
    pub(crate) fn span(&self) -> Span {
        match (self.tokens.first(), self.tokens.last()) {
            (Some(first), Some(last)) => first.start..last.end,
            _ => self.end.clone(),
        }
    }
}

/// The statements of a text; a `;` alone is none.
pub(crate) fn pieces<'t>(text: &str, tokens: &'t [Token<'t>]) -> Vec<Piece<'t>> {
    let mut pieces = Vec::new();
    for piece in tokens.split_inclusive(|token| token.is_symbol(";")) {
        let terminated = piece.last().is_some_and(|token| token.is_symbol(";"));
        let tokens = &piece[..piece.len() - usize::from(terminated)];
        let Some(last) = tokens.last() else { continue };
        let end = if terminated { piece[tokens.len()].span() } else { last.end..last.end };
        debug_assert!(end.end <= text.len(), "a token ends inside the text");
        pieces.push(Piece { tokens, end, terminated });
    }
    pieces
}

/// The tokens of a text.
pub(crate) fn lex(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { text, at: 0, positional: 0 };
    let mut tokens = Vec::with_capacity(text.len() / 6);
    loop {
        let start = lexer.at;
        match lexer.blank() {
            Ok(true) => {}
            Ok(false) if lexer.at == text.len() => return tokens,
            Ok(false) => {
                let kind = lexer.token();
                tokens.push(Token { kind, start, end: lexer.at });
            }
            Err(kind) => tokens.push(Token { kind, start, end: lexer.at }),
        }
    }
}

/// Whether a character may begin a word.
fn begins_word(letter: char) -> bool {
    letter.is_alphabetic() || letter == '_'
}

/// Whether a character may stand within a word.
pub(crate) fn continues_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Whether a text can be written as a name without quotes, reserved words aside.
pub(crate) fn is_word(text: &str) -> bool {
    text.starts_with(begins_word) && text.chars().all(continues_word)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    positional: usize,
}

fn bad(message: impl Into<String>, help: Option<&'static str>) -> TokenKind<'static> {
    TokenKind::Bad(Box::new(BadToken { message: message.into(), help, open: false }))
}

/// A text, a name or a comment without its closing mark.
fn unclosed(message: &str, help: &'static str) -> TokenKind<'static> {
    let message = message.to_owned();
    TokenKind::Bad(Box::new(BadToken { message, help: Some(help), open: true }))
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Takes the longest run of characters that satisfy the predicate.
    fn run(&mut self, predicate: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|letter| !predicate(letter)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Skips white space or one comment; whether there was any.
    fn blank(&mut self) -> Result<bool, TokenKind<'a>> {
        let start = self.at;
        self.run(|letter| letter.is_whitespace() || letter == '\u{feff}');
        if self.rest().starts_with("--") {
            self.run(|letter| letter != '\n');
        } else if self.at == start && self.rest().starts_with("/*") {
            self.block_comment()?;
        }
        Ok(self.at > start)
    }

    /// Skips `/* … */`, which may hold others of its kind.
    fn block_comment(&mut self) -> Result<(), TokenKind<'a>> {
        let mut open = 0_usize;
        loop {
            let rest = self.rest();
            if rest.starts_with("/*") {
                open += 1;
                self.at += 2;
            } else if rest.starts_with("*/") {
                open -= 1;
                self.at += 2;
                if open == 0 {
                    return Ok(());
                }
            } else if let Some(letter) = rest.chars().next() {
                self.at += letter.len_utf8();
            } else {
                return Err(unclosed(
                    "the comment that begins here has no end",
                    "close it with `*/`",
                ));
            }
        }
    }

    fn token(&mut self) -> TokenKind<'a> {
        let rest = self.rest();
        let letter = rest.chars().next().unwrap_or_default();
        if begins_word(letter) {
            return TokenKind::Word(self.run(continues_word));
        }
        if letter.is_ascii_digit() {
            return self.number();
        }
        match letter {
            '\'' => self.text(),
            '"' => self.quoted(),
            '?' => {
                self.at += 1;
                self.positional += 1;
                TokenKind::Positional(self.positional - 1)
            }
            '$' => self.named(),
            _ => self.symbol(letter),
        }
    }

    fn symbol(&mut self, letter: char) -> TokenKind<'a> {
        let rest = self.rest();
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            self.at += symbol.len();
            if *symbol == ";" {
                // Each statement has parameters of its own.
                self.positional = 0;
            }
            return TokenKind::Symbol(symbol);
        }
        self.at += letter.len_utf8();
        let help = match letter {
            '‘' | '’' | '“' | '”' | '`' => {
                Some("texts are written in single quotes: 'text'")
            }
            '&' => Some("write AND"),
            '|' => Some("write OR"),
            '!' => Some("write NOT, or `!=` to compare"),
            '+' | '/' | '%' => Some("there is no arithmetic"),
            _ => None,
        };
        bad(format!("`{}` has no meaning here", letter.escape_debug()), help)
    }

    fn number(&mut self) -> TokenKind<'a> {
        let start = self.at;
        let digit = |letter: char| letter.is_ascii_digit();
        self.run(digit);
        let mut float = false;
        if self.rest().starts_with('.') && self.rest()[1..].starts_with(digit) {
            float = true;
            self.at += 1;
            self.run(digit);
        }
        if self.rest().starts_with(['e', 'E']) {
            let sign = usize::from(self.rest()[1..].starts_with(['+', '-']));
            if self.rest()[1 + sign..].starts_with(digit) {
                float = true;
                self.at += 1 + sign;
                self.run(digit);
            }
        }
        if self.rest().starts_with(begins_word) {
            self.run(continues_word);
            let help = Some("write texts in single quotes, or put a space behind the number");
            return bad("a number goes on with letters", help);
        }
        let digits = &self.text[start..self.at];
        if float {
            match digits.parse::<f64>() {
                Ok(value) if value.is_finite() => TokenKind::Float(value),
                _ => bad("the number is too large", Some("numbers go up to about 1.8e308")),
            }
        } else {
            let help = Some("whole numbers go up to 9223372036854775807");
            digits.parse().map_or_else(|_| bad("the number is too large", help), TokenKind::Int)
        }
    }

    fn text(&mut self) -> TokenKind<'a> {
        match self.enclosed('\'') {
            Some(text) => TokenKind::Text(text),
            None => unclosed(
                "the text that begins here has no closing quote",
                "close it with `'`; a quote within a text is written twice",
            ),
        }
    }

    fn quoted(&mut self) -> TokenKind<'a> {
        match self.enclosed('"') {
            Some(name) if name.is_empty() => {
                bad("the name in quotes is empty", Some("texts are written in single quotes: ''"))
            }
            Some(name) => TokenKind::Quoted(name),
            None => {
                unclosed("the name that begins here has no closing quote", "close it with `\"`")
            }
        }
    }

    /// What stands between two quotes; a doubled quote stands for one.
    fn enclosed(&mut self, quote: char) -> Option<String> {
        self.at += 1;
        let mut inner = String::new();
        loop {
            inner.push_str(self.run(|letter| letter != quote));
            if self.at == self.text.len() {
                return None;
            }
            self.at += 1;
            if !self.rest().starts_with(quote) {
                return Some(inner);
            }
            self.at += 1;
            inner.push(quote);
        }
    }

    fn named(&mut self) -> TokenKind<'a> {
        self.at += 1;
        let name = self.run(continues_word);
        if name.starts_with(begins_word) {
            TokenKind::Named(name)
        } else {
            bad("the parameter has no name", Some("parameters are `?` or `$name`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::lex;
    use crate::token::TokenKind;

    fn kinds(text: &str) -> Vec<TokenKind<'_>> {
        lex(text).into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn sids_are_words_and_dots() {
        let dot = TokenKind::Symbol(".");
        let expected = [TokenKind::Word("a1"), dot.clone(), TokenKind::Symbol("*"), dot];
        assert_eq!(kinds("a1.*.c3")[..4], expected);
    }

    #[test]
    fn comments_nest_and_quotes_double() {
        assert_eq!(kinds("/* a /* b */ c */ 'it''s' -- x"), [TokenKind::Text("it's".into())]);
    }

    #[test]
    fn parameters_are_counted_in_each_statement() {
        let found = kinds("? ? ; ?");
        assert_eq!(found[1], TokenKind::Positional(1));
        assert_eq!(found[3], TokenKind::Positional(0));
    }

    #[test]
    fn numbers() {
        assert_eq!(
            kinds("7 4.2 1e-3"),
            [TokenKind::Int(7), TokenKind::Float(4.2), TokenKind::Float(1e-3)]
        );
        for text in ["1e999", "99999999999999999999", "3abc", "1e", "$1", "'a", "\"", "/*", "+"] {
            assert!(matches!(kinds(text)[..], [TokenKind::Bad(_)]), "{text}");
        }
    }
}
