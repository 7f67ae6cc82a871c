//! What is written in the attribute's brackets.

use proc_macro2::Span;
use syn::{
    Error, Ident, Lit, LitBool, LitInt, LitStr, Result, Token, parenthesized,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
};

/// `name`, `name = literal`, `name(…)` or `"literal"`.
pub(crate) enum Item {
    Flag(Ident),
    Pair(Ident, Lit),
    List(Ident, Vec<Item>),
    Text(LitStr),
}

impl Parse for Item {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.peek(LitStr) {
            return Ok(Self::Text(input.parse()?));
        }
        let name: Ident = input.parse()?;
        if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            return Ok(Self::Pair(name, input.parse()?));
        }
        if input.peek(syn::token::Paren) {
            let content;
            parenthesized!(content in input);
            let items = Punctuated::<Item, Token![,]>::parse_terminated(&content)?;
            return Ok(Self::List(name, items.into_iter().collect()));
        }
        Ok(Self::Flag(name))
    }
}

impl Item {
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Flag(name) | Self::Pair(name, _) | Self::List(name, _) => name.span(),
            Self::Text(text) => text.span(),
        }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Flag(name) | Self::Pair(name, _) | Self::List(name, _) => name.to_string(),
            Self::Text(_) => String::new(),
        }
    }

    /// The items of `name(…)`.
    pub(crate) fn list(&self) -> Result<&[Item]> {
        match self {
            Self::List(_, items) => Ok(items),
            _ => Err(self.expected("a list in brackets")),
        }
    }

    /// The items of `name(…)`; none for `name` alone.
    pub(crate) fn list_or_flag(&self) -> Result<&[Item]> {
        match self {
            Self::Flag(_) => Ok(&[]),
            _ => self.list(),
        }
    }

    pub(crate) fn text(&self) -> Result<&LitStr> {
        match self {
            Self::Pair(_, Lit::Str(text)) | Self::Text(text) => Ok(text),
            _ => Err(self.expected("a text in quotes")),
        }
    }

    pub(crate) fn number(&self) -> Result<u64> {
        match self {
            Self::Pair(_, Lit::Int(number)) => LitInt::base10_parse(number),
            _ => Err(self.expected("a whole number")),
        }
    }

    /// A number that may have a fraction, as JSON writes it.
    pub(crate) fn factor(&self) -> Result<String> {
        match self {
            Self::Pair(_, Lit::Float(number)) => Ok(number.base10_parse::<f64>()?.to_string()),
            _ => self.number().map(|number| number.to_string()),
        }
    }

    /// A number, or `"unlimited"`, which is `None`.
    pub(crate) fn number_or_unlimited(&self) -> Result<Option<u64>> {
        match self {
            Self::Pair(_, Lit::Str(text)) if text.value() == "unlimited" => Ok(None),
            Self::Pair(_, Lit::Str(_)) => Err(self.expected("a whole number or \"unlimited\"")),
            _ => self.number().map(Some),
        }
    }

    /// `name` alone is `true`.
    pub(crate) fn truth(&self) -> Result<bool> {
        match self {
            Self::Flag(_) => Ok(true),
            Self::Pair(_, Lit::Bool(LitBool { value, .. })) => Ok(*value),
            _ => Err(self.expected("`true` or `false`")),
        }
    }

    /// One of a few words.
    pub(crate) fn word(&self, words: &[&str]) -> Result<String> {
        let text = self.text()?;
        let word = text.value();
        if words.contains(&word.as_str()) {
            return Ok(word);
        }
        Err(Error::new(text.span(), format!("expected one of: {}", words.join(", "))))
    }

    pub(crate) fn expected(&self, what: &str) -> Error {
        Error::new(self.span(), format!("expected {what}"))
    }

    pub(crate) fn unknown(&self, known: &[&str]) -> Error {
        self.expected(&format!("one of: {}", known.join(", ")))
    }
}
