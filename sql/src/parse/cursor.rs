//! The tokens of one statement, read from the front: Weir's own words by hand, expressions, types
//! and queries by sqlparser.

use datafusion::sql::sqlparser::ast::{DataType, Expr, Query};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Word};
use weir_engine::Result;
use weir_engine::error::{Error, Place};

use super::dialect::WeirDialect;
use super::{place_of, query, syntax};
use crate::ast::Name;

/// Depth of nested expressions and queries. sqlparser grows the stack as it needs; the planner
/// behind it copes with this much.
const RECURSION_MAX: usize = 100;

/// Words that are never an unquoted name, so that a forgotten name is seen where it is missing.
const NOT_NAMES: &[&str] = &[
    "as", "from", "not", "null", "primary", "select", "values", "where", "with",
];

/// Subqueries that are tried one by one for a better error.
const SUBQUERIES_TRIED_MAX: usize = 64;

pub(super) struct Cursor<'a> {
    parser: Parser<'a>,
    tokens: &'a [TokenWithSpan],
    end: Place,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(tokens: &'a [TokenWithSpan], end: Place, dialect: &'a WeirDialect) -> Self {
        let parser = Parser::new(dialect)
            .with_recursion_limit(RECURSION_MAX)
            .with_tokens_with_locations(tokens.to_vec());
        Self {
            parser,
            tokens,
            end,
        }
    }

    /// Returns the next token.
    pub(super) fn peek(&self) -> &TokenWithSpan {
        self.nth(0)
    }

    /// Returns the token behind `n` others.
    pub(super) fn nth(&self, n: usize) -> &TokenWithSpan {
        self.parser.peek_nth_token_ref(n)
    }

    /// Returns where the next token stands, or the end of the statement.
    pub(super) fn place(&self) -> Place {
        place_of(self.peek()).unwrap_or(self.end)
    }

    /// Takes the next token.
    pub(super) fn next(&mut self) -> TokenWithSpan {
        self.parser.next_token()
    }

    /// Returns the next token's word, unless it is quoted or something else.
    pub(super) fn word(&self) -> Option<&str> {
        self.nth_word(0)
    }

    pub(super) fn nth_word(&self, n: usize) -> Option<&str> {
        match &self.nth(n).token {
            Token::Word(Word {
                value,
                quote_style: None,
                ..
            }) => Some(value),
            _ => None,
        }
    }

    /// Returns whether the words come next.
    pub(super) fn at_words(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, expected)| {
            self.nth_word(n)
                .is_some_and(|word| word.eq_ignore_ascii_case(expected))
        })
    }

    /// Takes the words if they come next.
    pub(super) fn accept(&mut self, words: &[&str]) -> bool {
        let found = self.at_words(words);
        if found {
            words.iter().for_each(|_| self.parser.advance_token());
        }
        found
    }

    /// Takes one of the words if it comes next, and returns it.
    pub(super) fn accept_one<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        words.iter().copied().find(|word| self.accept(&[word]))
    }

    /// Takes the words, which must come next.
    pub(super) fn expect(&mut self, words: &[&str]) -> Result<()> {
        for word in words {
            if !self.accept(&[word]) {
                return Err(self.expected(word));
            }
        }
        Ok(())
    }

    /// Takes a punctuation mark if it comes next.
    pub(super) fn accept_token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    /// Takes a punctuation mark, which must come next.
    pub(super) fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.accept_token(token) {
            return Ok(());
        }
        Err(self.expected(&format!("'{token}'")))
    }

    /// Takes `,` and goes on, or `)` and ends a list.
    pub(super) fn list_goes_on(&mut self) -> Result<bool> {
        if self.accept_token(&Token::Comma) {
            return Ok(true);
        }
        if self.accept_token(&Token::RParen) {
            return Ok(false);
        }
        Err(self.expected("',' or ')'"))
    }

    /// Returns the error for what stands here.
    pub(super) fn expected(&self, what: &str) -> Error {
        syntax::expected(what, self.place(), self.tokens)
    }

    /// Succeeds at the end of the statement.
    pub(super) fn expect_end(&self, or: &str) -> Result<()> {
        if self.peek().token == Token::EOF {
            return Ok(());
        }
        Err(self.expected(&format!("{or}the end of the statement")))
    }

    /// Takes a name of one part; `what` is what it names.
    pub(super) fn name(&mut self, what: &str) -> Result<Name> {
        let place = Some(self.place());
        let Token::Word(word) = &self.peek().token else {
            return Err(self.expected(what));
        };
        let text = if word.quote_style.is_some() {
            word.value.clone()
        } else if NOT_NAMES.iter().any(|w| word.value.eq_ignore_ascii_case(w)) {
            return Err(self.expected(what));
        } else {
            word.value.to_lowercase()
        };
        if text.is_empty() {
            return Err(syntax::error("a quoted name is empty").at(place));
        }
        self.parser.advance_token();
        Ok(Name { text, place })
    }

    /// Takes a name of one or more parts with dots between them.
    pub(super) fn dotted_name(&mut self, what: &str) -> Result<Name> {
        let mut name = self.name(what)?;
        while self.accept_token(&Token::Period) {
            name.text.push('.');
            name.text
                .push_str(&self.name("a name behind the '.'")?.text);
        }
        Ok(name)
    }

    /// Takes `(name, ...)`.
    pub(super) fn names(&mut self, what: &str) -> Result<Vec<Name>> {
        self.expect_token(&Token::LParen)?;
        let mut names = vec![self.name(what)?];
        while self.list_goes_on()? {
            names.push(self.name(what)?);
        }
        Ok(names)
    }

    /// Takes an expression.
    pub(super) fn expr(&mut self) -> Result<Expr> {
        let mut expr = self.sqlparser(Parser::parse_expr)?;
        query::normalize(&mut expr).map_err(|e| e.at(Some(self.end)))?;
        Ok(expr)
    }

    /// Takes a type.
    pub(super) fn data_type(&mut self) -> Result<DataType> {
        self.sqlparser(Parser::parse_data_type)
    }

    /// Takes a query.
    pub(super) fn query(&mut self) -> Result<Box<Query>> {
        let place = self.place();
        let parsed = self.sqlparser(Parser::parse_query);
        let mut query = parsed.map_err(|e| self.subquery_error().unwrap_or(e))?;
        query::normalize(&mut *query).map_err(|e| e.at(Some(place)))?;
        Ok(query)
    }

    /// Makes `SELECT * FROM name`, whose errors show at the name; `parts` are those of the name.
    pub(super) fn all_of(&self, parts: &[&str], place: Option<Place>) -> Result<Box<Query>> {
        let place = place.unwrap_or(self.end);
        let at = Location::new(place.line, place.column);
        let token = |token: Token| TokenWithSpan::new(token, Span::new(at, at));
        let mut tokens = vec![
            token(Token::make_keyword("SELECT")),
            token(Token::Mul),
            token(Token::make_keyword("FROM")),
        ];
        for (number, part) in parts.iter().enumerate() {
            tokens.extend((number > 0).then(|| token(Token::Period)));
            tokens.push(token(Token::make_word(part, Some('"'))));
        }
        let dialect = WeirDialect::new(&tokens);
        let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
        let query = parser.parse_query();
        query.map_err(|error| syntax::translate(error, place, self.end, self.tokens))
    }

    /// Finds the error inside a subquery. sqlparser reads a parenthesis that is no query as
    /// something else and complains about that; each is tried on its own, the innermost first.
    fn subquery_error(&self) -> Option<Error> {
        let mut open = Vec::new();
        let mut tried = 0;
        for (index, token) in self.tokens.iter().enumerate() {
            match token.token {
                Token::LParen => open.push(index),
                Token::RParen => {
                    let inside = self.tokens.get(open.pop()? + 1..index)?;
                    if tried < SUBQUERIES_TRIED_MAX && starts_query(inside) {
                        tried += 1;
                        if let Some(error) = self.error_inside(inside, place_of(token)) {
                            return Some(error);
                        }
                    }
                }
                _ => {}
            }
        }
        // What is not closed reaches to the end.
        let inside = self.tokens.get(open.pop()? + 1..)?;
        if starts_query(inside) {
            self.error_inside(inside, None)
        } else {
            None
        }
    }

    fn error_inside(&self, inside: &[TokenWithSpan], close: Option<Place>) -> Option<Error> {
        let start = inside.first().and_then(place_of)?;
        let end = close.unwrap_or(self.end);
        let dialect = WeirDialect::new(inside);
        let mut parser = Parser::new(&dialect)
            .with_recursion_limit(RECURSION_MAX)
            .with_tokens_with_locations(inside.to_vec());
        if let Err(error) = parser.parse_query() {
            return Some(syntax::translate(error, start, end, self.tokens));
        }
        let at = place_of(parser.peek_token_ref()).or(close.is_none().then_some(end))?;
        Some(syntax::expected("')'", at, self.tokens))
    }

    fn sqlparser<T>(
        &mut self,
        parse: impl FnOnce(&mut Parser<'a>) -> Result<T, ParserError>,
    ) -> Result<T> {
        let start = self.place();
        match parse(&mut self.parser) {
            Ok(parsed) => Ok(parsed),
            Err(error) => Err(syntax::translate(error, start, self.end, self.tokens)),
        }
    }
}

fn starts_query(tokens: &[TokenWithSpan]) -> bool {
    let Some(Token::Word(Word {
        value,
        quote_style: None,
        ..
    })) = tokens.first().map(|t| &t.token)
    else {
        return false;
    };
    ["select", "with", "values"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}
