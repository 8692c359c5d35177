//! `CREATE ANOMALY MODEL name ON (query) PARTITION BY .. ORDER BY .. TARGET .. [option ..]`: on the tokens it becomes a
//! materialized view of the anomalies that are found in the query, since it is a part of the pipeline that keeps what it
//! says. What the script wrote keeps its place, so that errors have theirs.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer, Word};
use weir_engine::Result;
use weir_engine::error::{Error, Kind, codes};
use weir_engine::options::nearest;
use weir_engine::rules::version_of;

use super::dialect::WeirDialect;
use super::place_of;
use crate::anomaly::options::Options;

const FORM: &str = "write CREATE ANOMALY MODEL name ON (SELECT ...) PARTITION BY key ORDER BY time TARGET value \
                    METHOD auto SENSITIVITY 0.99";

/// Brings the statement to that of a materialized view, if it is one of a model; others stay.
pub(super) fn expand(tokens: &mut Vec<TokenWithSpan>) -> Result<()> {
    let explained = usize::from(at_words(tokens, &["explain"]));
    let rest = tokens.get(explained..).unwrap_or_default();
    if at_words(rest, &["drop", "anomaly", "model"]) {
        let kind = glue("MATERIALIZED VIEW")?;
        tokens.splice(explained + 1..explained + 3, kind);
        return Ok(());
    }
    let replaces = at_words(rest, &["create", "or", "replace", "anomaly", "model"]);
    if !replaces && !at_words(rest, &["create", "anomaly", "model"]) {
        return Ok(());
    }
    let kind = explained + if replaces { 3 } else { 1 };
    let (from, written) = match tokens.get(kind..) {
        Some([from, _, written @ ..]) => (from, written),
        _ => return Ok(()),
    };
    let model = Model::read(written).map_err(|error| error.at(place_of(from)))?;
    let view = model.view()?;
    tokens.truncate(kind);
    tokens.extend(view);
    Ok(())
}

/// The words that begin a clause with a list.
const LISTS: [&str; 3] = ["partition", "order", "target"];

type Tokens<'a> = &'a [TokenWithSpan];

/// A model as it is written.
struct Model<'a> {
    /// The name, and what stands before it.
    head: Tokens<'a>,
    name: &'a str,
    query: Tokens<'a>,
    partition: Vec<Tokens<'a>>,
    order: Vec<Tokens<'a>>,
    targets: Vec<Tokens<'a>>,
    options: Vec<Tokens<'a>>,
}

impl<'a> Model<'a> {
    fn read(written: Tokens<'a>) -> Result<Self> {
        let on = written.iter().position(|token| is_word(token, "on"));
        let (head, rest) = written
            .split_at_checked(on.unwrap_or(written.len()))
            .unwrap_or_default();
        let name = match head.last().map(|token| &token.token) {
            Some(Token::Word(word)) => word.value.as_str(),
            _ => return Err(wrong("an anomaly model needs a name, and ON behind it")),
        };
        let Some([_, rest @ ..]) = rest.get(..) else {
            return Err(wrong(
                "an anomaly model needs ON (query): the rows that are judged",
            ));
        };
        let end = end_of_group(rest).ok_or_else(|| {
            let error = wrong("ON takes a query in parentheses");
            error.at(rest.first().and_then(place_of))
        })?;
        let (query, mut rest) = rest.split_at_checked(end).unwrap_or_default();
        let mut model = Self {
            head,
            name,
            query,
            partition: Vec::new(),
            order: Vec::new(),
            targets: Vec::new(),
            options: Vec::new(),
        };
        while !rest.is_empty() {
            let (clause, behind) = rest.split_at_checked(clause_end(rest)).unwrap_or_default();
            model.take(clause)?;
            rest = behind;
        }
        if model.order.is_empty() {
            return Err(wrong(
                "an anomaly model needs ORDER BY: the time of its rows",
            ));
        }
        if model.targets.is_empty() {
            return Err(wrong("an anomaly model needs TARGET: what is judged"));
        }
        Ok(model)
    }

    /// Takes one clause.
    fn take(&mut self, clause: Tokens<'a>) -> Result<()> {
        let place = clause.first().and_then(place_of);
        let (place_of_list, list) = if at_words(clause, &["partition", "by"]) {
            (&mut self.partition, clause.get(2..))
        } else if at_words(clause, &["order", "by"]) {
            (&mut self.order, clause.get(2..))
        } else if at_words(clause, &["target"]) {
            (&mut self.targets, clause.get(1..))
        } else {
            let name = clause
                .first()
                .map_or(String::new(), |token| token.token.to_string());
            if clause.len() < 2 || !Options::is_name(&name) {
                let message = format!("unknown clause \"{name}\" of an anomaly model");
                let error = Error::new(Kind::Invalid, codes::ANOMALY, message).at(place);
                let known = ["PARTITION BY", "ORDER BY", "TARGET"]
                    .into_iter()
                    .chain(Options::names());
                return Err(nearest(error, &name, known));
            }
            self.options.push(clause);
            return Ok(());
        };
        let list = split_list(list.unwrap_or_default());
        if !place_of_list.is_empty() || list.iter().any(|item| item.is_empty()) {
            return Err(wrong("a clause of an anomaly model is empty or stands twice").at(place));
        }
        *place_of_list = list;
        Ok(())
    }

    /// What differs where anything of the model does but its name.
    fn version(&self) -> String {
        let lists = [&self.partition, &self.order, &self.targets, &self.options];
        let parts = lists.into_iter().flatten().copied();
        let words = parts.chain([self.query]).map(|tokens| {
            let words = tokens.iter().map(|token| match &token.token {
                Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
                other => other.to_string(),
            });
            words.collect::<Vec<_>>().join(" ")
        });
        version_of(&words.collect::<Vec<_>>().join("; "))
    }

    /// The view: `MATERIALIZED VIEW name AS SELECT ...`.
    fn view(&self) -> Result<Vec<TokenWithSpan>> {
        let mut view = glue("MATERIALIZED VIEW")?;
        view.extend_from_slice(self.head);
        let name = Token::SingleQuotedString(self.name.to_owned());
        let version = self.version();
        view.extend(glue(&format!(
            "AS SELECT verdict.id AS id, {name} AS model, '{version}' AS version, key, time, value, verdict.expected AS expected, verdict.lower AS lower, \
             verdict.upper AS upper, verdict.score AS score, verdict.p_value AS p_value, \
             verdict.direction AS direction, verdict.contribution AS contribution FROM (SELECT"
        ))?);
        match self.partition.as_slice() {
            [] => view.extend(glue("CAST(NULL AS VARCHAR)")?),
            [key] => as_text(key, &mut view)?,
            keys => {
                view.extend(glue("concat_ws(', '")?);
                for key in keys {
                    view.extend(glue(",")?);
                    as_text(key, &mut view)?;
                }
                view.extend(glue(")")?);
            }
        }
        view.extend(glue("AS key,")?);
        let time = self.order.first().copied().unwrap_or_default();
        view.extend(time.iter().filter(|token| !is_word(token, "asc")).cloned());
        view.extend(glue("AS time, TRY_CAST((")?);
        view.extend_from_slice(self.targets.first().copied().unwrap_or_default());
        view.extend(glue(") AS DOUBLE) AS value, ANOMALY(")?);
        let arguments = self.targets.iter().chain(&self.options);
        join(&arguments.copied().collect::<Vec<_>>(), &mut view)?;
        view.extend(glue(&format!(
            ", MODEL => {name}, VERSION => '{version}') OVER ("
        ))?);
        if !self.partition.is_empty() {
            view.extend(glue("PARTITION BY")?);
            join(&self.partition, &mut view)?;
        }
        view.extend(glue("ORDER BY")?);
        join(&self.order, &mut view)?;
        view.extend(glue(") AS verdict FROM")?);
        view.extend_from_slice(self.query);
        view.extend(glue(") WHERE verdict.is_anomaly")?);
        Ok(view)
    }
}

fn as_text(key: Tokens<'_>, to: &mut Vec<TokenWithSpan>) -> Result<()> {
    to.extend(glue("CAST((")?);
    to.extend_from_slice(key);
    to.extend(glue(") AS VARCHAR)")?);
    Ok(())
}

fn join(items: &[Tokens<'_>], to: &mut Vec<TokenWithSpan>) -> Result<()> {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            to.extend(glue(",")?);
        }
        to.extend_from_slice(item);
    }
    Ok(())
}

/// Tokens that the script does not have: they have no place.
fn glue(text: &str) -> Result<Vec<TokenWithSpan>> {
    let dialect = WeirDialect::new(&[]);
    let tokens = Tokenizer::new(&dialect, text).tokenize();
    let tokens = tokens
        .map_err(|error| Error::internal(error.message))?
        .into_iter();
    let kept = tokens.filter(|token| !matches!(token, Token::Whitespace(_)));
    Ok(kept
        .map(|token| TokenWithSpan::new(token, Span::empty()))
        .collect())
}

/// How many tokens the group takes that begins here, with its parentheses.
fn end_of_group(tokens: Tokens<'_>) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return (token.token == Token::RParen).then_some(at + 1);
        }
    }
    None
}

/// How many tokens a clause takes: up to the word that begins another.
fn clause_end(tokens: Tokens<'_>) -> usize {
    let is_list = LISTS.iter().any(|word| at_words(tokens, &[word]));
    let mut depth = 0_usize;
    let mut last: Option<&TokenWithSpan> = None;
    for (at, token) in tokens.iter().enumerate() {
        if depth == 0
            && let (Some(last), Token::Word(word)) = (last, &token.token)
            && begins(word, last, is_list)
        {
            return at;
        }
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            _ => {}
        }
        last = Some(token);
    }
    tokens.len()
}

/// Whether a word begins a clause, behind another token of the one before it.
fn begins(word: &Word, last: &TokenWithSpan, is_list: bool) -> bool {
    // The first of a list: a column may be called as an option.
    let is_item = last.token == Token::Comma || is_word(last, "by") || is_word(last, "target");
    if word.quote_style.is_some() || is_item {
        return false;
    }
    let known = LISTS
        .iter()
        .any(|list| word.value.eq_ignore_ascii_case(list));
    // A name behind a value goes on with no expression: it is a typing error.
    let follows = match &last.token {
        Token::Word(last) => last.keyword == Keyword::NoKeyword,
        Token::Number(..) | Token::RParen => true,
        _ => false,
    };
    known
        || Options::is_name(&word.value)
        || is_list && follows && word.keyword == Keyword::NoKeyword
}

/// Takes a list apart at its commas.
fn split_list(tokens: Tokens<'_>) -> Vec<Tokens<'_>> {
    let mut depth = 0_usize;
    let parts = tokens.split(|token| {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.token == Token::Comma
    });
    parts.collect()
}

fn at_words(tokens: Tokens<'_>, words: &[&str]) -> bool {
    let mut found = tokens.iter();
    words
        .iter()
        .all(|word| found.next().is_some_and(|token| is_word(token, word)))
}

fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(found)
        if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

fn wrong(message: &str) -> Error {
    Error::new(Kind::Invalid, codes::ANOMALY, message).hint(FORM)
}
