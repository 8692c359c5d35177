//! Whether a value is as a schema says.

use serde_json::{Map, Value};

use super::compile::{Properties, Rule, Schema};

/// Schemas within schemas that a value is asked by: one that only refers to itself describes nothing.
const DEPTH_MAX: usize = 256;

impl Schema {
    /// Whether a text is JSON of this form.
    pub(super) fn describes(&self, text: &str) -> bool {
        let value = serde_json::from_str::<Value>(text);
        value.is_ok_and(|value| self.all(&self.root, &value, 0))
    }

    fn all(&self, rules: &[Rule], value: &Value, depth: usize) -> bool {
        depth < DEPTH_MAX && rules.iter().all(|rule| self.one(rule, value, depth + 1))
    }

    fn one(&self, rule: &Rule, value: &Value, depth: usize) -> bool {
        let holds = |rules: &Vec<Rule>| self.all(rules, value, depth);
        match (rule, value) {
            (Rule::Never, _) => false,
            (Rule::Type(types), _) => types.iter().any(|name| is_of(value, name)),
            (Rule::Enum(all), _) => all.iter().any(|other| same(other, value)),
            (Rule::All(all), _) => all.iter().all(holds),
            (Rule::Any(all), _) => all.iter().any(holds),
            (Rule::One(all), _) => all.iter().filter(|rules| holds(rules)).count() == 1,
            (Rule::Not(rules), _) => !holds(rules),
            (Rule::If(cond, then, otherwise), _) => {
                let next = if holds(cond) { then } else { otherwise };
                next.as_ref().is_none_or(holds)
            }
            (Rule::Ref(name), _) => self.named.get(name).is_some_and(holds),
            (Rule::Count(of, least, most), _) => {
                let count = match value {
                    Value::String(text) => ("string", text.chars().count()),
                    Value::Array(items) => ("array", items.len()),
                    Value::Object(members) => ("object", members.len()),
                    _ => return true,
                };
                count.0 != *of || (*least..=*most).contains(&(count.1 as f64))
            }
            (Rule::Bound(bound, is_most, is_out), Value::Number(number)) => {
                let number = number.as_f64().unwrap_or(f64::NAN);
                match (is_most, is_out) {
                    (true, true) => number < *bound,
                    (true, false) => number <= *bound,
                    (false, true) => number > *bound,
                    (false, false) => number >= *bound,
                }
            }
            (Rule::Multiple(step), Value::Number(number)) => {
                let times = number.as_f64().unwrap_or(f64::NAN) / step;
                (times - times.round()).abs() < 1e-9
            }
            (Rule::Pattern(regex), Value::String(text)) => regex.is_match(text),
            (Rule::Format(test), Value::String(text)) => test(text),
            (_, Value::Object(members)) => self.object(rule, members, value, depth),
            (_, Value::Array(items)) => self.array(rule, items, depth),
            // What is asked of another type is not asked of this one.
            _ => true,
        }
    }

    fn object(
        &self,
        rule: &Rule,
        members: &Map<String, Value>,
        value: &Value,
        depth: usize,
    ) -> bool {
        let has_all = |names: &Vec<String>| names.iter().all(|name| members.contains_key(name));
        match rule {
            Rule::Required(names) => has_all(names),
            Rule::Properties(asked) => {
                let mut all = members.iter();
                all.all(|(name, value)| self.member(asked, name, value, depth))
            }
            Rule::Names(rules) => members
                .keys()
                .all(|name| self.all(rules, &Value::String(name.clone()), depth)),
            Rule::Needs(needs) => needs
                .iter()
                .all(|(name, others)| !members.contains_key(name) || has_all(others)),
            Rule::NeedsSchema(needs) => needs
                .iter()
                .all(|(name, rules)| !members.contains_key(name) || self.all(rules, value, depth)),
            _ => true,
        }
    }

    fn member(&self, asked: &Properties, name: &str, value: &Value, depth: usize) -> bool {
        let named = asked.named.get(name);
        let patterns = asked.patterns.iter();
        let mut patterns = patterns
            .filter(|(regex, _)| regex.is_match(name))
            .peekable();
        if named.is_none() && patterns.peek().is_none() {
            let others = asked.others.as_ref();
            return others.is_none_or(|rules| self.all(rules, value, depth));
        }
        named.is_none_or(|rules| self.all(rules, value, depth))
            && patterns.all(|(_, rules)| self.all(rules, value, depth))
    }

    fn array(&self, rule: &Rule, items: &[Value], depth: usize) -> bool {
        match rule {
            Rule::Items { first, rest } => {
                let mut pairs = items.iter().zip(first);
                let mut others = items.iter().skip(first.len());
                pairs.all(|(item, rules)| self.all(rules, item, depth))
                    && rest
                        .as_ref()
                        .is_none_or(|rules| others.all(|item| self.all(rules, item, depth)))
            }
            Rule::Contains(rules, least, most) => {
                let found = items.iter().filter(|item| self.all(rules, item, depth));
                (*least..=*most).contains(&(found.count() as f64))
            }
            Rule::Unique => items.iter().enumerate().all(|(at, one)| {
                let mut before = items.iter().take(at);
                !before.any(|other| same(one, other))
            }),
            _ => true,
        }
    }
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        _ => value
            .as_f64()
            .is_some_and(|number| value.is_number() && number.fract() == 0.0),
    }
}

/// Whether two values are the same: 1 is 1.0.
fn same(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let mut all = a.iter();
            a.len() == b.len() && all.all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => one == two,
    }
}
