//! A JSON Schema as it is written, made into what is asked of a value.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use crate::functions::{formats, network};

/// Keywords that change what a schema means and are not known here: passing over them would let values through.
const UNKNOWN: [&str; 6] = [
    "$anchor",
    "$dynamicRef",
    "$recursiveRef",
    "dependencies",
    "unevaluatedItems",
    "unevaluatedProperties",
];
const TYPES: [&str; 7] = [
    "null", "boolean", "object", "array", "number", "integer", "string",
];

/// A schema with what it refers to.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) root: Vec<Rule>,
    /// What `$ref` names, by pointer.
    pub(super) named: BTreeMap<String, Vec<Rule>>,
}

/// What one keyword asks.
#[derive(Debug)]
pub(super) enum Rule {
    Never,
    Type(Vec<String>),
    Enum(Vec<Value>),
    Required(Vec<String>),
    Properties(Properties),
    Names(Vec<Rule>),
    Needs(BTreeMap<String, Vec<String>>),
    NeedsSchema(Vec<(String, Vec<Rule>)>),
    /// Length of a text, items of a list, members of an object: the type, least and most.
    Count(&'static str, f64, f64),
    Items {
        first: Vec<Vec<Rule>>,
        rest: Option<Vec<Rule>>,
    },
    Contains(Vec<Rule>, f64, f64),
    Unique,
    /// A bound of numbers, whether it is the greatest, and whether it is out itself.
    Bound(f64, bool, bool),
    Multiple(f64),
    Pattern(Regex),
    Format(fn(&str) -> bool),
    All(Vec<Vec<Rule>>),
    Any(Vec<Vec<Rule>>),
    One(Vec<Vec<Rule>>),
    Not(Vec<Rule>),
    If(Vec<Rule>, Option<Vec<Rule>>, Option<Vec<Rule>>),
    Ref(String),
}

/// What is asked of the members of an object.
#[derive(Debug, Default)]
pub(super) struct Properties {
    pub(super) named: BTreeMap<String, Vec<Rule>>,
    pub(super) patterns: Vec<(Regex, Vec<Rule>)>,
    pub(super) others: Option<Vec<Rule>>,
}

type Read<T> = Result<T, String>;

impl Schema {
    /// Reads a schema, or says why it is none.
    pub(super) fn read(text: &str) -> Read<Self> {
        let whole: Value =
            serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let mut reader = Reader {
            whole: &whole,
            named: BTreeMap::new(),
        };
        let root = reader.schema(&whole)?;
        Ok(Self {
            root,
            named: reader.named,
        })
    }
}

struct Reader<'a> {
    whole: &'a Value,
    named: BTreeMap<String, Vec<Rule>>,
}

impl Reader<'_> {
    fn schema(&mut self, value: &Value) -> Read<Vec<Rule>> {
        let members = match value {
            Value::Bool(true) => return Ok(Vec::new()),
            Value::Bool(false) => return Ok(vec![Rule::Never]),
            Value::Object(members) => members,
            other => {
                return Err(format!(
                    "{other} is no schema, which is an object, true or false"
                ));
            }
        };
        let mut rules = Vec::new();
        self.members(members, &mut rules)?;
        for (keyword, value) in members {
            if UNKNOWN.contains(&keyword.as_str()) {
                return Err(format!("keyword \"{keyword}\" is not supported"));
            }
            self.keyword(keyword, value, &mut rules)
                .map_err(|why| match why.contains(": ") {
                    true => why,
                    false => format!("\"{keyword}\": {why}"),
                })?;
        }
        Ok(rules)
    }

    /// Keywords that are read together.
    fn members(&mut self, members: &Map<String, Value>, rules: &mut Vec<Rule>) -> Read<()> {
        let mut properties = Properties::default();
        let object = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(value) => value
                .as_object()
                .map(Some)
                .ok_or(format!("\"{name}\": it is no object")),
        };
        for (name, value) in object("properties")?.into_iter().flatten() {
            properties.named.insert(name.clone(), self.schema(value)?);
        }
        for (pattern, value) in object("patternProperties")?.into_iter().flatten() {
            properties
                .patterns
                .push((regex(pattern)?, self.schema(value)?));
        }
        let mut of = |name: &str| {
            members
                .get(name)
                .map(|value| self.schema(value))
                .transpose()
        };
        properties.others = of("additionalProperties")?;
        let (cond, then, otherwise) = (of("if")?, of("then")?, of("else")?);
        let contains = of("contains")?;
        // Before 2020-12 `items` was the list that `prefixItems` is now.
        let listed = members
            .get("prefixItems")
            .or(members.get("items").filter(|items| items.is_array()));
        let rest = match members.get("items") {
            Some(items) if !items.is_array() => Some(self.schema(items)?),
            _ => members
                .get("additionalItems")
                .map(|value| self.schema(value))
                .transpose()?,
        };
        let first = listed.map_or(Ok(Vec::new()), |listed| self.list(listed))?;
        if !first.is_empty() || rest.is_some() {
            rules.push(Rule::Items { first, rest });
        }
        if let Some(contains) = contains {
            let bound =
                |name: &str, otherwise: f64| members.get(name).map_or(Ok(otherwise), number);
            let (least, most) = (
                bound("minContains", 1.0)?,
                bound("maxContains", f64::INFINITY)?,
            );
            rules.push(Rule::Contains(contains, least, most));
        }
        if let Some(cond) = cond {
            rules.push(Rule::If(cond, then, otherwise));
        }
        rules.push(Rule::Properties(properties));
        Ok(())
    }

    fn keyword(&mut self, keyword: &str, value: &Value, rules: &mut Vec<Rule>) -> Read<()> {
        let most = f64::INFINITY;
        rules.push(match keyword {
            "type" => Rule::Type(types(value)?),
            "enum" => Rule::Enum(value.as_array().ok_or("it is no list")?.clone()),
            "const" => Rule::Enum(vec![value.clone()]),
            "required" => Rule::Required(texts(value)?),
            "propertyNames" => Rule::Names(self.schema(value)?),
            "dependentRequired" => {
                let all = value.as_object().ok_or("it is no object")?.iter();
                let all = all.map(|(name, needs)| Ok((name.clone(), texts(needs)?)));
                Rule::Needs(all.collect::<Read<_>>()?)
            }
            "dependentSchemas" => {
                let all = value.as_object().ok_or("it is no object")?.iter();
                let all = all.map(|(name, schema)| Ok((name.clone(), self.schema(schema)?)));
                Rule::NeedsSchema(all.collect::<Read<_>>()?)
            }
            "minLength" => Rule::Count("string", number(value)?, most),
            "maxLength" => Rule::Count("string", 0.0, number(value)?),
            "minItems" => Rule::Count("array", number(value)?, most),
            "maxItems" => Rule::Count("array", 0.0, number(value)?),
            "minProperties" => Rule::Count("object", number(value)?, most),
            "maxProperties" => Rule::Count("object", 0.0, number(value)?),
            "uniqueItems" if value.as_bool().ok_or("it is neither true nor false")? => Rule::Unique,
            "minimum" => Rule::Bound(number(value)?, false, false),
            "maximum" => Rule::Bound(number(value)?, true, false),
            "exclusiveMinimum" => Rule::Bound(number(value)?, false, true),
            "exclusiveMaximum" => Rule::Bound(number(value)?, true, true),
            "multipleOf" => match number(value)? {
                step if step > 0.0 => Rule::Multiple(step),
                _ => return Err("it is not greater than 0".to_owned()),
            },
            "pattern" => Rule::Pattern(regex(value.as_str().ok_or("it is no text")?)?),
            "format" => match format_of(value.as_str().ok_or("it is no text")?) {
                Some(test) => Rule::Format(test),
                None => return Ok(()),
            },
            "allOf" => Rule::All(self.list(value)?),
            "anyOf" => Rule::Any(self.list(value)?),
            "oneOf" => Rule::One(self.list(value)?),
            "not" => Rule::Not(self.schema(value)?),
            "$ref" => Rule::Ref(self.reference(value)?),
            // What only describes asks nothing.
            _ => return Ok(()),
        });
        Ok(())
    }

    fn list(&mut self, value: &Value) -> Read<Vec<Vec<Rule>>> {
        let all = value.as_array().ok_or("it is no list")?.iter();
        all.map(|value| self.schema(value)).collect()
    }

    /// Reads what a pointer into the schema itself names.
    fn reference(&mut self, value: &Value) -> Read<String> {
        let name = value.as_str().ok_or("it is no text")?;
        let Some(pointer) = name.strip_prefix('#') else {
            return Err(format!(
                "{name} is outside of the schema: nothing is fetched"
            ));
        };
        let whole = self.whole;
        let found = whole
            .pointer(pointer)
            .ok_or(format!("there is no {name} in the schema"))?;
        if !self.named.contains_key(name) {
            // It may refer to itself.
            self.named.insert(name.to_owned(), Vec::new());
            let rules = self.schema(found)?;
            self.named.insert(name.to_owned(), rules);
        }
        Ok(name.to_owned())
    }
}

fn number(value: &Value) -> Read<f64> {
    value.as_f64().ok_or(format!("{value} is no number"))
}

fn texts(value: &Value) -> Read<Vec<String>> {
    let all = value.as_array().ok_or("it is no list")?.iter();
    let all = all.map(|value| value.as_str().map(str::to_owned));
    all.collect::<Option<_>>()
        .ok_or("it is no list of texts".to_owned())
}

fn types(value: &Value) -> Read<Vec<String>> {
    let all = match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(_) => texts(value)?,
        other => return Err(format!("{other} is no type")),
    };
    match all.iter().find(|name| !TYPES.contains(&name.as_str())) {
        Some(other) => Err(format!(
            "{other} is no type; there are {}",
            TYPES.join(", ")
        )),
        None => Ok(all),
    }
}

fn regex(pattern: &str) -> Read<Regex> {
    Regex::new(pattern).map_err(|_| format!("{pattern} is no regular expression"))
}

/// The formats that are checked; others only describe.
fn format_of(name: &str) -> Option<fn(&str) -> bool> {
    Some(match name {
        "email" => formats::is_email,
        "uuid" => formats::is_uuid,
        "hostname" => formats::is_host,
        "ipv4" => network::is_ipv4,
        "ipv6" => network::is_ipv6,
        "uri" => network::is_url,
        "date" => |text| text.len() == 10 && text.parse::<chrono::NaiveDate>().is_ok(),
        "date-time" => |text| chrono::DateTime::parse_from_rfc3339(text).is_ok(),
        _ => return None,
    })
}
