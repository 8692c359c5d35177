//! Protobuf's definitions: `.proto` texts compiled at run time, and the message type in them.

use std::collections::HashMap;
use std::path::Path;

use prost_reflect::{FileDescriptor, MessageDescriptor};
use protox::Compiler;
use protox::file::{
    ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver,
};

/// The name of a registry's schema among the files it imports.
const MAIN: &str = "weir/schema.proto";

/// Files that are texts in memory.
#[derive(Debug)]
struct Texts(HashMap<String, String>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// Compiles a text with the texts it imports; Google's own files are known.
pub(super) fn of_text(text: &str, imports: &[(String, String)]) -> Result<FileDescriptor, String> {
    let mut texts: HashMap<String, String> = imports.iter().cloned().collect();
    texts.insert(MAIN.to_owned(), text.to_owned());
    let mut resolver = ChainFileResolver::new();
    resolver.add(Texts(texts));
    resolver.add(GoogleFileResolver::new());
    compile(resolver, MAIN)
}

/// Compiles a file; what it imports is looked for beside it. This blocks.
pub(super) fn of_file(path: &Path) -> Result<FileDescriptor, String> {
    let (Some(folder), Some(name)) = (
        path.parent(),
        path.file_name().and_then(|name| name.to_str()),
    ) else {
        return Err("the path names no file".to_owned());
    };
    let mut resolver = ChainFileResolver::new();
    resolver.add(IncludeFileResolver::new(folder.to_owned()));
    resolver.add(GoogleFileResolver::new());
    compile(resolver, name)
}

fn compile(resolver: ChainFileResolver, name: &str) -> Result<FileDescriptor, String> {
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    compiler
        .open_file(name)
        .map_err(|error| error.to_string())?;
    let file = compiler.descriptor_pool().get_file_by_name(name);
    file.ok_or_else(|| "the compiled file is not there".to_owned())
}

/// Finds the message type: by its full name, by its name in the file's package, or the first.
pub(super) fn message(
    file: &FileDescriptor,
    name: Option<&str>,
) -> Result<MessageDescriptor, String> {
    let pool = file.parent_pool();
    let Some(name) = name else {
        let first = file.messages().next();
        return first.ok_or_else(|| "the definition has no message".to_owned());
    };
    let in_package = format!("{}.{name}", file.package_name());
    let found = pool
        .get_message_by_name(name)
        .or_else(|| pool.get_message_by_name(&in_package));
    found.ok_or_else(|| {
        let known: Vec<String> = pool
            .all_messages()
            .map(|message| message.full_name().to_owned())
            .filter(|name| !name.starts_with("google.protobuf."))
            .take(20)
            .collect();
        format!(
            "there is no message \"{name}\"; there are: {}",
            known.join(", ")
        )
    })
}

/// Finds the message type at a path of positions, as Confluent's header names it.
pub(super) fn at(file: &FileDescriptor, path: &[usize]) -> Option<MessageDescriptor> {
    let (first, rest) = path.split_first()?;
    let mut found = file.messages().nth(*first)?;
    for position in rest {
        let child = found.child_messages().nth(*position)?;
        found = child;
    }
    Some(found)
}

/// The header of Confluent's form: the number of the schema, the path of the message type, and
/// how long the header is.
pub(super) fn header(message: &[u8]) -> Option<(u32, Vec<usize>, usize)> {
    const DEPTH_MAX: usize = 32;
    let number: [u8; 4] = message.get(1..5)?.try_into().ok()?;
    if message.first() != Some(&0) {
        return None;
    }
    let mut at = 5;
    let count = usize::try_from(varint(message, &mut at)?).ok()?;
    let mut path = Vec::new();
    if count == 0 {
        // The first message type is so common that it has a short form.
        path.push(0);
    }
    if count > DEPTH_MAX {
        return None;
    }
    for _ in 0..count {
        path.push(usize::try_from(varint(message, &mut at)?).ok()?);
    }
    Some((u32::from_be_bytes(number), path, at))
}

/// A zigzag number of variable length.
fn varint(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}
