//! The variables of a script: `${NAME}` and `${NAME:-default}` inside string literals.
//!
//! Substitution works on literals that are lexed already, so a value can never become SQL. A
//! literal `${` is written `$${`. As in a shell, the default stands in for an empty value too.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use weir_engine::error::codes;
use weir_engine::options::nearest;
use weir_engine::{Error, Result, error::Kind};

/// The values of a script's variables.
#[derive(Clone, Default)]
pub struct Variables {
    given: BTreeMap<String, String>,
    fallback: BTreeMap<String, String>,
}

/// Values may be passwords: only the names are shown.
impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.given.keys()).finish()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Variables {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let given = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Self {
            given,
            fallback: BTreeMap::new(),
        }
    }
}

impl Variables {
    /// Makes an empty set: every variable of the script needs a default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds values for the names that are not given, such as the process environment.
    #[must_use]
    pub fn with_fallback<N: Into<String>, V: Into<String>>(
        mut self,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.fallback.extend(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        self
    }

    /// Returns the value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given
            .get(name)
            .or_else(|| self.fallback.get(name))
            .map(String::as_str)
    }

    /// Puts the values into one literal's text.
    pub fn substitute<'t>(&self, text: &'t str) -> Result<Cow<'t, str>> {
        if !text.contains("${") {
            return Ok(Cow::Borrowed(text));
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            // `$${` is a literal `${`.
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = after;
                continue;
            }
            out.push_str(before);
            let Some((inside, after)) = after.split_once('}') else {
                return Err(malformed("a variable is not closed with '}'"));
            };
            out.push_str(self.value(inside)?);
            rest = after;
        }
        out.push_str(rest);
        Ok(Cow::Owned(out))
    }

    /// Evaluates `NAME` or `NAME:-default`.
    fn value<'v>(&'v self, inside: &'v str) -> Result<&'v str> {
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_name(name) {
            return Err(malformed(format!(
                "\"{name}\" is not the name of a variable"
            )));
        }
        match (self.get(name), default) {
            (Some(""), Some(default)) => Ok(default),
            (Some(value), _) => Ok(value),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &str) -> Error {
        let error = Error::new(
            Kind::Invalid,
            codes::VARIABLE,
            format!("the variable \"{name}\" has no value"),
        );
        let near = nearest(error, name, self.given.keys().map(String::as_str));
        // A name of one or two letters is near to every other.
        if name.len() > 2
            && near
                .hint_text()
                .is_some_and(|hint| hint.starts_with("did you mean"))
        {
            return near;
        }
        near.hint(format!(
            "give it with --set {name}=value, or write a default: ${{{name}:-value}}"
        ))
    }
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn malformed(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, codes::VARIABLE, message)
        .hint("write ${NAME} or ${NAME:-default}, and $${ for a literal ${")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::Variables;

    fn check(text: &str, expected: Expect) {
        let variables = Variables::from_iter([("BUCKET", "lake"), ("EMPTY", ""), ("Q", "'; DROP")])
            .with_fallback([("HOME", "/root"), ("BUCKET", "other")]);
        let got = match variables.substitute(text) {
            Ok(text) => text.into_owned(),
            Err(error) => error.report(None),
        };
        expected.assert_eq(&got);
    }

    #[test]
    fn values_and_defaults() {
        check(
            "no variable, {x} and $x",
            expect!["no variable, {x} and $x"],
        );
        check("s3://${BUCKET}/a/${BUCKET}", expect!["s3://lake/a/lake"]);
        check("${HOME}/x", expect!["/root/x"]);
        check("${REGION:-eu-west-1}", expect!["eu-west-1"]);
        check("${BUCKET:-other}", expect!["lake"]);
        check(
            "[${EMPTY}] [${EMPTY:-full}] [${NONE:-}]",
            expect!["[] [full] []"],
        );
        check("${Q}", expect!["'; DROP"]);
        check("${X:-a:-b}", expect!["a:-b"]);
    }

    #[test]
    fn escapes() {
        check(
            "$${BUCKET} $$${BUCKET} $$ $",
            expect!["${BUCKET} $${BUCKET} $$ $"],
        );
        check("é$${é", expect!["é${é"]);
    }

    #[test]
    fn errors() {
        check(
            "${BUKET}",
            expect![[r#"
                error[E0108]: the variable "BUKET" has no value
                  hint: did you mean "BUCKET"?"#]],
        );
        check(
            "${SOMETHING_ELSE}",
            expect![[r#"
                error[E0108]: the variable "SOMETHING_ELSE" has no value
                  hint: give it with --set SOMETHING_ELSE=value, or write a default: ${SOMETHING_ELSE:-value}"#]],
        );
        check(
            "a${BUCKET",
            expect![[r#"
                error[E0108]: a variable is not closed with '}'
                  hint: write ${NAME} or ${NAME:-default}, and $${ for a literal ${"#]],
        );
        check(
            "^a${2}$",
            expect![[r#"
                error[E0108]: "2" is not the name of a variable
                  hint: write ${NAME} or ${NAME:-default}, and $${ for a literal ${"#]],
        );
    }
}
