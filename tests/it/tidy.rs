//! The repository's own rules, held by tests: who may know whom, how long files are, what is
//! documented.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use weir_engine::connector::Connector;
use weir_engine::options::{OptionKind, OptionSpec};

/// Lines of code of a file, its tests aside; a file above needs splitting.
const FILE_LINES_MAX: usize = 400;
/// Lines of a document that must be read in one sitting.
const ARCHITECTURE_LINES_MAX: usize = 300;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files of the repository, as git knows them, new ones included.
fn files(ending: &str) -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    let mut found: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|path| path.ends_with(ending) && root().join(path).exists())
        .map(str::to_owned)
        .collect();
    if found.is_empty() {
        found = walk(root(), ending);
    }
    assert!(!found.is_empty(), "no file ends with {ending}");
    found
}

/// The same without git, for a copy of the source that is no clone.
fn walk(folder: &Path, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "out" {
            found.extend(walk(&path, ending));
        } else if name.ends_with(ending) {
            found.push(
                path.strip_prefix(root())
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
    }
    found
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .unwrap()
}

#[test]
fn dependencies_go_one_way() {
    let allowed = BTreeMap::from([
        ("weir-engine", vec!["weir-anomaly"]),
        ("weir-sql", vec!["weir-anomaly", "weir-engine"]),
        ("weir-anomaly", vec![]),
        ("weir-kafka-queue", vec![]),
        ("weir-connectors", vec!["weir-engine", "weir-kafka-queue"]),
        ("weir", vec!["weir-connectors", "weir-engine", "weir-sql"]),
        (
            "weir-bench",
            vec![
                "weir",
                "weir-anomaly",
                "weir-connectors",
                "weir-engine",
                "weir-sql",
            ],
        ),
        ("weir-micro", vec!["weir-connectors", "weir-engine"]),
    ]);
    for package in metadata().packages {
        let name = package.name.to_string();
        let may = allowed
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name} has no place here"));
        for dependency in &package.dependencies {
            // A crate's tests may use what its code must not.
            if dependency.name.starts_with("weir") && dependency.kind != DependencyKind::Development
            {
                let known = may.contains(&dependency.name.as_str());
                assert!(known, "{name} must not depend on {}", dependency.name);
            }
            let planner = dependency.name == "datafusion";
            let engine_side = matches!(name.as_str(), "weir-engine" | "weir-connectors");
            assert!(
                !(planner && engine_side),
                "{name} must not name the planner"
            );
        }
    }
}

#[test]
fn versions_are_in_one_place() {
    for package in metadata().packages {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        let mut in_dependencies = false;
        for line in manifest.lines() {
            if let Some(section) = line.strip_prefix('[') {
                in_dependencies =
                    section.ends_with("dependencies]") && !section.starts_with("workspace");
            } else if in_dependencies && line.contains('=') {
                let shared = line.contains(".workspace") || line.contains("workspace = true");
                assert!(
                    shared,
                    "{}: `{line}` has a version of its own",
                    package.manifest_path
                );
            }
        }
    }
}

/// Libraries with their features, as they are built for some kinds of dependencies.
fn features(of: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--prefix",
            "none",
            "--format",
            "{p} {f}",
        ])
        .args(of)
        .current_dir(root())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let found: BTreeSet<String> = text
        .lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .collect();
    assert!(found.len() > 100, "{output:?}");
    found
}

/// Otherwise `cargo run` builds DataFusion anew after `cargo test`: 20 minutes on a small machine.
#[test]
fn the_program_shares_its_libraries_with_the_tests() {
    let of_tests = features(&["--workspace", "--edges", "normal,build,dev"]);
    for of in [&["--workspace"], &["--package=weir"]] {
        let of_program = features(&[&of[..], &["--edges=normal,build"]].concat());
        let only: Vec<&String> = of_program.difference(&of_tests).collect();
        assert!(only.is_empty(), "{of:?} builds these differently: {only:?}");
    }
}

#[test]
fn the_arrow_family_has_one_version() {
    let lock = read("Cargo.lock");
    let mut versions = BTreeMap::<&str, BTreeSet<&str>>::new();
    let mut name = "";
    for line in lock.lines() {
        if let Some(value) = line.strip_prefix("name = ") {
            name = value.trim_matches('"');
        } else if let Some(value) = line.strip_prefix("version = ") {
            versions
                .entry(name)
                .or_default()
                .insert(value.trim_matches('"'));
        }
    }
    for name in [
        "arrow",
        "arrow-array",
        "parquet",
        "datafusion",
        "datafusion-common",
        "object_store",
    ] {
        let found = versions
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not in Cargo.lock"));
        assert_eq!(found.len(), 1, "{name} has the versions {found:?}");
    }
}

/// Lines of code: tests, comments and empty lines aside.
fn code_lines(text: &str) -> usize {
    let code = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text);
    code.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let banned = [
        "utils.rs",
        "common.rs",
        "helpers.rs",
        "types.rs",
        "util.rs",
        "helper.rs",
        "misc.rs",
    ];
    let mut wrong = Vec::new();
    for path in files(".rs") {
        let text = read(&path);
        let name = Path::new(&path)
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        if banned.contains(&name.as_str()) {
            wrong.push(format!("{path}: name the file for what is in it"));
        }
        let is_test = path.starts_with("tests/") || name == "tests.rs" || path.contains("/tests/");
        let lines = code_lines(&text);
        if lines > FILE_LINES_MAX && !is_test {
            wrong.push(format!(
                "{path}: {lines} lines of code, {FILE_LINES_MAX} are the bound"
            ));
        }
        if !text.starts_with("//!") && !text.starts_with("#![") {
            wrong.push(format!("{path}: no module documentation on the first line"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn nothing_is_unfinished_or_switched_off() {
    // Split, so that this file does not find itself.
    let banned = [
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("#[ign", "ore"),
        concat!("#[al", "low("),
    ];
    let mut wrong = Vec::new();
    for path in files(".rs") {
        for (number, line) in read(&path).lines().enumerate() {
            for word in banned.iter().filter(|word| line.contains(*word)) {
                wrong.push(format!("{path}:{}: {word}", number + 1));
            }
            let open = concat!("TO", "DO");
            if line.contains(open) && !line.contains(&format!("{open}(#")) {
                wrong.push(format!(
                    "{path}:{}: {open} without an issue number",
                    number + 1
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_error_code_has_a_page() {
    let mut wrong = Vec::new();
    for code in weir_engine::error::codes::ALL {
        let page = root().join(format!("docs/errors/{code}.md"));
        match std::fs::read_to_string(&page) {
            Err(_) => wrong.push(format!("docs/errors/{code}.md is missing")),
            Ok(text) if !text.contains(code.0) => {
                wrong.push(format!("{code}.md names another code"))
            }
            Ok(_) => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let pages = std::fs::read_dir(root().join("docs/errors"))
        .unwrap()
        .flatten();
    for page in pages.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        let known = weir_engine::error::codes::ALL
            .iter()
            .any(|code| page == format!("{code}.md"));
        assert!(
            known || page == "README.md",
            "docs/errors/{page} is for no code"
        );
    }
}

/// The tables of `docs/connectors.md` are made from the definitions that parse the options.
#[test]
fn connector_options_are_documented() {
    let page = read("docs/connectors.md");
    let connectors = weir_connectors::all();
    let file = connectors
        .iter()
        .find(|connector| connector.name() == "file")
        .unwrap();
    let mut made = page.clone();
    for connector in &connectors {
        let begin = format!("<!-- begin: {} -->\n", connector.name());
        let (before, rest) = made
            .split_once(&begin)
            .unwrap_or_else(|| panic!("docs/connectors.md has no place for {}", connector.name()));
        let (_, after) = rest.split_once("<!-- end -->").unwrap();
        let shared = (connector.name() != file.name()).then_some(&**file);
        made = format!(
            "{before}{begin}{}<!-- end -->{after}",
            tables(&**connector, shared)
        );
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(root().join("docs/connectors.md"), made).unwrap();
        return;
    }
    assert!(
        page == made,
        "docs/connectors.md is out of date: UPDATE=1 cargo test --test it connector_options"
    );
}

/// Makes the tables of one connector; options that `shared` has too are left out.
fn tables(connector: &dyn Connector, shared: Option<&dyn Connector>) -> String {
    let mut text = String::new();
    let sides = [
        (
            "Source",
            connector.source_options(),
            shared.and_then(|c| c.source_options()),
        ),
        (
            "Sink",
            connector.sink_options(),
            shared.and_then(|c| c.sink_options()),
        ),
    ];
    for (side, specs, shared) in sides {
        let Some(specs) = specs else { continue };
        let known: Vec<&OptionSpec> = shared.iter().flatten().flat_map(|s| s.iter()).collect();
        let rows: Vec<String> = specs
            .iter()
            .flat_map(|specs| specs.iter())
            .filter(|spec| !known.contains(spec))
            .map(row)
            .collect();
        if !rows.is_empty() {
            text.push_str(&format!(
                "\n{side}:\n\n| option | value | default | meaning |\n|---|---|---|---|\n"
            ));
            text.push_str(&rows.concat());
        }
    }
    let metadata = connector.metadata_columns();
    if !metadata.is_empty() && shared.is_none_or(|s| s.metadata_columns() != metadata) {
        text.push_str(
            "\nMetadata columns, by `METADATA FROM`:\n\n| key | type | meaning |\n|---|---|---|\n",
        );
        for column in metadata {
            text.push_str(&format!(
                "| `{}` | {} | {} |\n",
                column.key, column.data_type, column.help
            ));
        }
    }
    text.push('\n');
    text
}

fn row(spec: &OptionSpec) -> String {
    let value = match spec.kind {
        OptionKind::Text => "text".to_owned(),
        OptionKind::Secret => "secret".to_owned(),
        OptionKind::Bool => "`true`, `false`".to_owned(),
        OptionKind::Count => "count".to_owned(),
        OptionKind::Number => "number".to_owned(),
        OptionKind::Bytes => "size".to_owned(),
        OptionKind::Duration => "time span".to_owned(),
        OptionKind::OneOf(words) => words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let default = match (spec.required, spec.default) {
        (true, _) => "required".to_owned(),
        (false, Some(default)) => format!("`{default}`"),
        (false, None) => String::new(),
    };
    let help = spec.help.replace('|', "\\|");
    format!("| `{}` | {value} | {default} | {help} |\n", spec.name)
}

#[test]
fn the_readme_has_its_two_commands_and_they_exist() {
    let readme = read("README.md");
    for command in [
        "cargo run --release -- run examples/taxi.sql",
        "bash tests/run",
    ] {
        assert!(readme.contains(command), "README.md lacks `{command}`");
    }
    assert!(read(".ci/run").contains("bash tests/run"));
    for path in [
        "examples/taxi.sql",
        "tests/run",
        "LICENSE",
        "deny.toml",
        "docs/limits.md",
    ] {
        assert!(root().join(path).exists(), "{path} is missing");
    }
    let lines = read("ARCHITECTURE.md").lines().count();
    assert!(
        lines <= ARCHITECTURE_LINES_MAX,
        "ARCHITECTURE.md has {lines} lines"
    );
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    for path in files(".md") {
        let text = read(&path);
        for part in text.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or_default();
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let folder = root().join(&path).parent().map(PathBuf::from).unwrap();
            if !folder.join(target).exists() {
                wrong.push(format!("{path}: {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn scripts_in_documents_name_real_examples() {
    for path in files(".sql")
        .iter()
        .filter(|path| path.starts_with("examples/"))
    {
        let text = read(path);
        assert!(text.starts_with("--"), "{path} does not say what it shows");
        assert!(
            text.contains("-- Shows:"),
            "{path} does not say what it shows"
        );
    }
}
