//! Avro schemas as JSON: named types written out where they are used, fields picked.
//!
//! A picked field must stand for itself, so every reference to a named type is replaced by its
//! definition. A type that contains itself has no such form, and no Arrow type either.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// Types within one schema, written out: what refers to itself in depth is no row.
const NODES_MAX: usize = 20_000;

/// A record schema, its named types written out.
#[derive(Debug, Clone)]
pub(super) struct RecordSchema {
    name: String,
    namespace: Option<String>,
    fields: Vec<Value>,
}

impl RecordSchema {
    /// Reads a schema and those it refers to; an error text says what is wrong.
    pub(super) fn parse(text: &str, references: &[(String, String)]) -> Result<Self, String> {
        let read = |text: &str| {
            serde_json::from_str::<Value>(text)
                .map_err(|error| format!("the schema is not JSON: {error}"))
        };
        let referred: Vec<Value> = references
            .iter()
            .map(|(_, text)| read(text))
            .collect::<Result<_, _>>()?;
        let own = read(text)?;
        let mut names = Names::default();
        for schema in referred.iter().chain([&own]) {
            names.collect(schema, None);
        }
        let whole = names.write(&own, None)?;
        let text = |key: &str| whole.get(key).and_then(Value::as_str).map(str::to_owned);
        let fields = whole.get("fields").and_then(Value::as_array);
        match (text("type").as_deref(), text("name"), fields) {
            (Some("record"), Some(name), Some(fields)) => Ok(Self {
                name,
                namespace: text("namespace"),
                fields: fields.clone(),
            }),
            _ => Err("the schema is not a record: only records have columns".to_owned()),
        }
    }

    /// The names of the fields.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.fields.iter();
        names.filter_map(|field| field.get("name").and_then(Value::as_str))
    }

    /// The field of a name, or of a name in other case when only one has it.
    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        let at = self.names().position(|field| field == name).or_else(|| {
            let mut near = self
                .names()
                .enumerate()
                .filter(|(_, field)| field.eq_ignore_ascii_case(name));
            let (at, _) = near.next()?;
            near.next().is_none().then_some(at)
        })?;
        self.fields.get(at)
    }

    /// The first field.
    pub(super) fn first(&self) -> Option<&Value> {
        self.fields.first()
    }

    /// The text of the whole schema.
    pub(super) fn text(&self) -> String {
        self.with_fields(self.fields.clone())
    }

    /// The text of a record of the same name with other fields.
    pub(super) fn with_fields(&self, fields: Vec<Value>) -> String {
        let mut record = json!({ "type": "record", "name": self.name, "fields": fields });
        if let (Some(namespace), Some(record)) = (&self.namespace, record.as_object_mut()) {
            record.insert("namespace".to_owned(), json!(namespace));
        }
        record.to_string()
    }
}

/// Whether a reader's field can be had from a writer without it.
pub(super) fn has_default(field: &Value) -> bool {
    let is_null_first = field.get("type").and_then(Value::as_array);
    let is_null_first = is_null_first.and_then(|union| union.first()) == Some(&json!("null"));
    field.get("default").is_some() || is_null_first
}

/// The named types of a schema and of those it refers to.
#[derive(Debug, Default)]
struct Names<'a> {
    types: HashMap<String, (&'a Value, Option<&'a str>)>,
}

const PRIMITIVES: &[&str] = &[
    "null", "boolean", "int", "long", "float", "double", "bytes", "string",
];

fn is_named(kind: &str) -> bool {
    matches!(kind, "record" | "error" | "enum" | "fixed")
}

/// The last part of a definition's name, and the namespace it is in.
fn name_of<'a>(
    object: &'a Map<String, Value>,
    around: Option<&'a str>,
) -> Option<(&'a str, Option<&'a str>)> {
    let name = object.get("name")?.as_str()?;
    if let Some((namespace, name)) = name.rsplit_once('.') {
        return Some((name, Some(namespace)));
    }
    let own = object.get("namespace").and_then(Value::as_str);
    Some((
        name,
        own.or(around).filter(|namespace| !namespace.is_empty()),
    ))
}

fn full(name: &str, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) if !name.contains('.') => format!("{namespace}.{name}"),
        _ => name.to_owned(),
    }
}

impl<'a> Names<'a> {
    /// Finds the definitions within a schema. Its depth is that which JSON's reader allows.
    fn collect(&mut self, schema: &'a Value, around: Option<&'a str>) {
        match schema {
            Value::Array(union) => union.iter().for_each(|one| self.collect(one, around)),
            Value::Object(object) => {
                let mut around = around;
                let kind = object.get("type");
                if kind.and_then(Value::as_str).is_some_and(is_named)
                    && let Some((name, namespace)) = name_of(object, around)
                {
                    let known = self.types.entry(full(name, namespace));
                    known.or_insert((schema, around));
                    around = namespace;
                }
                let fields = object.get("fields").and_then(Value::as_array);
                let fields = fields
                    .into_iter()
                    .flatten()
                    .filter_map(|field| field.get("type"));
                let parts = fields
                    .chain(object.get("items"))
                    .chain(object.get("values"));
                let inner = kind.filter(|kind| !kind.is_string());
                parts
                    .chain(inner)
                    .for_each(|part| self.collect(part, around));
            }
            _ => {}
        }
    }

    /// Writes a schema out.
    fn write(&self, schema: &Value, around: Option<&str>) -> Result<Value, String> {
        let mut writing = Writing {
            names: self,
            open: Vec::new(),
            nodes: 0,
        };
        writing.write(schema, around)
    }
}

struct Writing<'a> {
    names: &'a Names<'a>,
    /// The named types that are being written.
    open: Vec<String>,
    nodes: usize,
}

impl Writing<'_> {
    fn write(&mut self, schema: &Value, around: Option<&str>) -> Result<Value, String> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err("the schema is too large".to_owned());
        }
        match schema {
            Value::String(name) if PRIMITIVES.contains(&name.as_str()) => Ok(schema.clone()),
            Value::String(name) => {
                let names = self.names;
                let found = names
                    .types
                    .get(&full(name, around))
                    .or_else(|| names.types.get(name));
                let Some((definition, around)) = found else {
                    return Err(format!(
                        "the schema names a type \"{name}\" that it does not define"
                    ));
                };
                self.write(definition, *around)
            }
            Value::Array(union) => {
                let union = union.iter().map(|one| self.write(one, around));
                Ok(Value::Array(union.collect::<Result<_, _>>()?))
            }
            Value::Object(object) => self.object(object, around),
            other => Err(format!("the schema has {other} where a type should be")),
        }
    }

    fn object(
        &mut self,
        object: &Map<String, Value>,
        around: Option<&str>,
    ) -> Result<Value, String> {
        let Some(kind) = object.get("type") else {
            return Err("the schema has an object without a type".to_owned());
        };
        let kind = match kind {
            Value::String(kind) => kind.as_str(),
            // {"type": {"type": "string"}} and {"type": ["null", "int"]} mean what is inside.
            inner => return self.write(inner, around),
        };
        let mut written = object.clone();
        match kind {
            "array" | "map" => {
                let key = if kind == "array" { "items" } else { "values" };
                let Some(inner) = object.get(key) else {
                    return Err(format!("the schema has an {kind} without {key}"));
                };
                written.insert(key.to_owned(), self.write(inner, around)?);
            }
            _ if is_named(kind) => return self.named(object, around),
            // Its text is what the column shows.
            "string" if object.get("logicalType") == Some(&json!("uuid")) => {
                return Ok(json!("string"));
            }
            _ if PRIMITIVES.contains(&kind) => {}
            name => return self.write(&json!(name), around),
        }
        Ok(Value::Object(written))
    }

    fn named(
        &mut self,
        object: &Map<String, Value>,
        around: Option<&str>,
    ) -> Result<Value, String> {
        let Some((name, namespace)) = name_of(object, around) else {
            return Err("the schema has a type without a name".to_owned());
        };
        let whole = full(name, namespace);
        if self.open.contains(&whole) {
            return Err(format!(
                "the type \"{whole}\" contains itself, which no column can"
            ));
        }
        let mut written = object.clone();
        written.insert("name".to_owned(), json!(name));
        match namespace {
            Some(namespace) => written.insert("namespace".to_owned(), json!(namespace)),
            None => written.remove("namespace"),
        };
        if let Some(fields) = object.get("fields").and_then(Value::as_array) {
            self.open.push(whole);
            let fields: Result<Vec<Value>, String> = fields
                .iter()
                .map(|field| {
                    let kind = field
                        .get("type")
                        .ok_or("the schema has a field without a type")?;
                    let kind = self.write(kind, namespace)?;
                    let mut field = field.clone();
                    if let Some(field) = field.as_object_mut() {
                        field.insert("type".to_owned(), kind);
                    }
                    Ok(field)
                })
                .collect();
            self.open.pop();
            written.insert("fields".to_owned(), Value::Array(fields?));
        }
        Ok(Value::Object(written))
    }
}
