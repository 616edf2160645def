//! Text to selector: one pass over the bytes, without a way back.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Comparison, Selector};

/// How long the key of a label may be.
pub const MAX_KEY: usize = 512;

/// How many parentheses may stand in each other. Calico sets no bound; nobody writes so many.
pub const MAX_DEPTH: usize = 200;

/// Why a text is no selector, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError {
    /// The byte at which reading stopped; the length of the text for its end.
    pub at: usize,
    /// The character there, counted from 1.
    pub character: usize,
    message: String,
}

impl SelectorError {
    /// What is wrong, without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at character {}", self.message, self.character)
    }
}

impl std::error::Error for SelectorError {}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = Reader { text, at: 0 };
        reader.blanks();
        if reader.peek().is_none() {
            return Ok(Self::All);
        }
        let selector = reader.alternatives(0)?;
        match reader.peek() {
            None => Ok(selector),
            Some(_) => Err(reader.expected("`&&`, `||` or the end")),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

type Read<T> = Result<T, SelectorError>;

const fn of_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-')
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Blanks are spaces and tabs; a line must not end.
    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    /// A word of the language: what follows must not belong to a key.
    fn take_word(&mut self, word: &str) -> bool {
        let next = self.text.as_bytes().get(self.at + word.len());
        !next.is_some_and(|b| of_key(*b)) && self.take(word)
    }

    /// Two words, which may stand together.
    fn take_words(&mut self, first: &str, second: &str) -> bool {
        let start = self.at;
        if self.take(first) {
            self.blanks();
            if self.take_word(second) {
                return true;
            }
        }
        self.at = start;
        false
    }

    fn error(&self, message: String) -> SelectorError {
        SelectorError { at: self.at, character: self.text[..self.at].chars().count() + 1, message }
    }

    fn expected(&self, what: &str) -> SelectorError {
        let found = match self.rest().chars().next() {
            None => "the end".to_owned(),
            Some('\n' | '\r') => "the end of a line (a selector stands on one line)".to_owned(),
            Some('`') => "a backquote".to_owned(),
            Some(c) => format!("`{}`", c.escape_debug()),
        };
        self.error(format!("expected {what}, found {found}"))
    }

    fn alternatives(&mut self, depth: usize) -> Read<Selector> {
        let mut alternatives = Vec::new();
        loop {
            let mut terms = vec![self.term(depth)?];
            self.blanks();
            while self.take("&&") {
                terms.push(self.term(depth)?);
                self.blanks();
            }
            alternatives.push(one_or(terms, Selector::And));
            if !self.take("||") {
                return Ok(one_or(alternatives, Selector::Or));
            }
        }
    }

    fn term(&mut self, depth: usize) -> Read<Selector> {
        let mut negated = false;
        self.blanks();
        while self.take("!") {
            negated = !negated;
            self.blanks();
        }
        let atom = self.atom(depth)?;
        Ok(if negated { Selector::Not(Box::new(atom)) } else { atom })
    }

    fn atom(&mut self, depth: usize) -> Read<Selector> {
        // A parenthesis must follow these words at once: otherwise they are keys.
        for (word, selector) in [("all(", Selector::All), ("global(", Selector::Global)] {
            if self.take(word) {
                self.close()?;
                return Ok(selector);
            }
        }
        if self.take("has(") {
            self.blanks();
            let key = self.key("the key of a label")?;
            self.close()?;
            return Ok(Selector::Has(key));
        }
        if self.peek() == Some(b'(') {
            if depth == MAX_DEPTH {
                return Err(self.error(format!("more than {MAX_DEPTH} parentheses stand in each other")));
            }
            self.at += 1;
            let inner = self.alternatives(depth + 1)?;
            self.close()?;
            return Ok(inner);
        }
        let key = self.key("the key of a label, has(), all(), global() or `(`")?;
        self.blanks();
        let comparison = self.comparison()?;
        Ok(Selector::Compare(key, comparison))
    }

    fn close(&mut self) -> Read<()> {
        self.blanks();
        if self.take(")") { Ok(()) } else { Err(self.expected("`)`")) }
    }

    fn key(&mut self, what: &str) -> Read<Arc<str>> {
        let length = self.rest().bytes().take_while(|b| of_key(*b)).count();
        if length == 0 {
            return Err(self.expected(what));
        }
        if length > MAX_KEY {
            return Err(self.error(format!("the key of a label is longer than {MAX_KEY} characters")));
        }
        let key = &self.rest()[..length];
        self.at += length;
        Ok(key.into())
    }

    fn comparison(&mut self) -> Read<Comparison> {
        Ok(if self.take("==") {
            Comparison::Equal(self.literal()?)
        } else if self.take("!=") {
            Comparison::NotEqual(self.literal()?)
        } else if self.take_word("contains") {
            Comparison::Contains(self.literal()?)
        } else if self.take_words("starts", "with") {
            Comparison::StartsWith(self.literal()?)
        } else if self.take_words("ends", "with") {
            Comparison::EndsWith(self.literal()?)
        } else if self.take_words("not", "in") {
            Comparison::NotIn(self.list()?)
        } else if self.take_word("in") {
            Comparison::In(self.list()?)
        } else {
            return Err(
                self.expected("`==`, `!=`, `in`, `not in`, `contains`, `starts with` or `ends with` after the key")
            );
        })
    }

    /// Nothing is escaped: a text ends at the next quote of its kind.
    fn literal(&mut self) -> Read<Arc<str>> {
        self.blanks();
        let quote = match self.peek() {
            Some(quote @ (b'"' | b'\'')) => char::from(quote),
            _ => return Err(self.expected("a value in quotes")),
        };
        let inside = &self.rest()[1..];
        let Some(length) = inside.find(quote) else {
            return Err(self.error("the quote is not closed".to_owned()));
        };
        self.at += length + 2;
        Ok(inside[..length].into())
    }

    fn list(&mut self) -> Read<Vec<Arc<str>>> {
        self.blanks();
        if !self.take("{") {
            return Err(self.expected("`{`"));
        }
        let mut values = Vec::new();
        loop {
            self.blanks();
            if self.take("}") {
                break;
            }
            values.push(self.literal()?);
            self.blanks();
            if !self.take(",") {
                if self.take("}") {
                    break;
                }
                return Err(self.expected("`,` or `}`"));
            }
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }
}

fn one_or(mut terms: Vec<Selector>, many: fn(Vec<Selector>) -> Selector) -> Selector {
    match (terms.pop(), terms.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            terms.extend(last);
            many(terms)
        }
    }
}
