//! The dialect given to sqlparser: PostgreSQL's precedences and literals, with the additions that
//! DataFusion plans (`* EXCEPT`, `{'a': 1}`, `STRUCT(..)`), without PostgreSQL's free-form
//! operators (`a<-1` means `a < -1` here).
//!
//! It also bounds the work: sqlparser tries several readings of some constructs one after the
//! other, which takes exponential time on nested nonsense. The number of expressions that are
//! started is counted, and parsing stops when it exceeds what sane SQL of this length needs.

use std::any::TypeId;
use std::cell::Cell;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// Expressions that may be started per token of a statement: several readings of each.
const STARTS_PER_TOKEN_MAX: usize = 8;
/// Expressions that may be started in any statement, however short.
const STARTS_MIN: usize = 10_000;

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

/// Weir's dialect, with the work left for one statement.
#[derive(Debug)]
pub(super) struct WeirDialect {
    starts_left: Cell<usize>,
    /// Whether `FOR SYSTEM_TIME` stands in the statement. Only then a table may have a version, or
    /// `FROM t at` would be none.
    versions: bool,
}

impl WeirDialect {
    pub(super) fn new(tokens: &[TokenWithSpan]) -> Self {
        let starts = tokens.len().saturating_mul(STARTS_PER_TOKEN_MAX);
        Self {
            starts_left: Cell::new(starts.max(STARTS_MIN)),
            versions: tokens.iter().any(|token| is_word(token, &["system_time"])),
        }
    }
}

impl Dialect for WeirDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn parse_prefix(&self, _parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let left = self.starts_left.get();
        if left == 0 {
            // The only error that sqlparser does not answer with another reading.
            return Some(Err(ParserError::RecursionLimitExceeded));
        }
        self.starts_left.set(left - 1);
        None
    }

    /// `any_match(list, x -> x > 0)`.
    fn supports_lambda_functions(&self) -> bool {
        true
    }

    /// `a IS NOT DISTINCT FROM b AND c`: sqlparser would compare `a` with `b AND c`.
    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        let same =
            parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]);
        if !same && !parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) {
            return None;
        }
        let right = parser.parse_subexpr(self.prec_value(Precedence::Is));
        let of = |right| match same {
            true => Expr::IsNotDistinctFrom(Box::new(expr.clone()), Box::new(right)),
            false => Expr::IsDistinctFrom(Box::new(expr.clone()), Box::new(right)),
        };
        Some(right.map(of))
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        POSTGRES.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRES.prec_value(precedence)
    }

    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('"')
    }

    fn is_delimited_identifier_start(&self, c: char) -> bool {
        c == '"'
    }

    fn is_identifier_start(&self, c: char) -> bool {
        c.is_alphabetic() || c == '_' || (!c.is_ascii() && !c.is_whitespace())
    }

    fn is_identifier_part(&self, c: char) -> bool {
        self.is_identifier_start(c) || c.is_ascii_digit() || c == '$'
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        // A failing CASE or CAST is not read again as a column of that name: the first error is
        // the one to tell.
        matches!(
            keyword,
            Keyword::CASE
                | Keyword::CAST
                | Keyword::TRY_CAST
                | Keyword::NOT
                | Keyword::EXTRACT
                | Keyword::SUBSTRING
                | Keyword::ARRAY
                | Keyword::MAP
                | Keyword::SELECT
        ) || POSTGRES.is_reserved_for_identifier(keyword)
    }

    /// `EMIT ON UPDATE` behind a query is no alias of its last table or column.
    fn is_select_item_alias(&self, explicit: bool, kw: &Keyword, parser: &mut Parser<'_>) -> bool {
        explicit || (!starts_emit(parser) && self.is_column_alias(kw, parser))
    }

    fn is_table_factor_alias(&self, explicit: bool, kw: &Keyword, parser: &mut Parser<'_>) -> bool {
        explicit || (!starts_emit(parser) && self.is_table_alias(kw, parser))
    }

    fn supports_table_versioning(&self) -> bool {
        self.versions
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_string_escape_constant(&self) -> bool {
        true
    }

    fn supports_numeric_literal_underscores(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_named_fn_args_with_assignment_operator(&self) -> bool {
        true
    }

    fn supports_dictionary_syntax(&self) -> bool {
        true
    }

    fn support_map_literal_syntax(&self) -> bool {
        true
    }

    fn supports_struct_literal(&self) -> bool {
        true
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }

    fn supports_interval_options(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn supports_comma_separated_trim(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_select_wildcard_exclude(&self) -> bool {
        true
    }

    fn supports_select_wildcard_replace(&self) -> bool {
        true
    }

    fn supports_select_wildcard_rename(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn allow_extract_single_quotes(&self) -> bool {
        true
    }
}

/// Whether the word that the parser has just taken starts an EMIT clause. A table may still be
/// called so: `JOIN b emit ON emit.id = a.id`.
fn starts_emit(parser: &Parser<'_>) -> bool {
    let nth = |n: usize| parser.peek_nth_token_ref(n);
    is_word(parser.get_current_token(), &["emit"])
        && (is_word(nth(0), &["every"])
            || is_word(nth(0), &["on"]) && is_word(nth(1), &["window", "update"]))
}

fn is_word(token: &TokenWithSpan, words: &[&str]) -> bool {
    match &token.token {
        Token::Word(Word {
            value,
            quote_style: None,
            ..
        }) => words.iter().any(|word| value.eq_ignore_ascii_case(word)),
        _ => false,
    }
}
