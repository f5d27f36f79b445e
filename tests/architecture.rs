//! The arrows of docs/architecture.md, the names in docs/spec-map.md and docs/known-attacks.md, and house rules that a compiler
//! does not know, checked on the source itself.
//!
//! In: every `.rs` file. Out: each breach with its file and line. Not here: what clippy, rustdoc and cargo-deny find.

#[path = "architecture/names.rs"]
mod names;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use names::{Kind, Name, Target, Token, module_of, names, tokens};

/// The layers from the bottom up; a module imports from its own and from those before it.
const LAYERS: [&[&str]; 6] = [
    &["status", "metadata", "method"],
    &["codec", "protocol"],
    &["call", "transport"],
    &["server", "client", "interceptor"],
    &["health", "reflection"],
    &[
        "proto", "service", "store", "objects", "export", "gateway", "cli", "main",
    ],
];

/// Beside the layers, so that nothing imports them: the generator, which build scripts compile as well, and the
/// bodies of the fuzz targets.
const BESIDE: [&str; 2] = ["codegen", "fuzz"];

/// Without I/O besides the two lowest layers: what decides, kept apart from what acts on it.
const SANS_IO: [&str; 3] = ["reflection::index", "client::reconnect", "client::balance"];

/// Codes that only an application can mean (statuscodes.md), by the constructor and by the variant. Below the standard
/// services nobody makes one up.
const APPLICATION_CODES: [&str; 14] = [
    "invalid_argument",
    "InvalidArgument",
    "not_found",
    "NotFound",
    "already_exists",
    "AlreadyExists",
    "failed_precondition",
    "FailedPrecondition",
    "aborted",
    "Aborted",
    "out_of_range",
    "OutOfRange",
    "data_loss",
    "DataLoss",
];

/// Where the clock on the wall is read: it may jump. The ids of uploads begin with it, so that they stand in the order of time
/// for who looks at the folder; everything that waits or expires goes by the clock that only goes forward.
const WALL_CLOCK: [&str; 1] = ["objects::upload"];

/// What reads it.
const WALL_CLOCK_WORDS: [&str; 2] = ["SystemTime", "UNIX_EPOCH"];

/// A file with more than this holds more than one concept.
const MAX_LINES: usize = 600;

/// What is larger was not written by hand: the largest is Cargo.lock.
const MAX_FILE_BYTES: u64 = 128 * 1024;

/// What .gitignore names, and git's own.
const NO_SOURCES: [&str; 7] = [
    "./.git",
    "./target",
    "./benches/peers/target",
    "./fuzz/target",
    "./fuzz/corpus",
    "./fuzz/artifacts",
    "./streamway-data",
];

#[test]
fn every_source_keeps_to_the_rules() {
    let root = Root::read(&text("src/lib.rs"));
    let files = rust_files("src");
    assert!(
        files.len() > 10,
        "only {files:?}: is this the right folder?"
    );
    let found: Vec<String> = files
        .iter()
        .flat_map(|file| root.breaches(file, &text(file)))
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// Such as what a debugger has left behind.
#[test]
fn no_large_file_is_among_the_sources() {
    let is_source = |path: &str| {
        let path = Path::new(path);
        !NO_SOURCES.iter().any(|folder| path.starts_with(folder))
    };
    let files = files(".", &is_source);
    assert!(files.contains(&"./src/lib.rs".to_owned()), "{files:?}");
    let large = |file: &&String| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        fs::metadata(path).expect("it was listed").len() > MAX_FILE_BYTES
    };
    let found: Vec<_> = files.iter().filter(large).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn tonic_is_named_nowhere() {
    let mut found = Vec::new();
    for folder in ["tests", "examples", "benches", "fuzz/fuzz_targets"] {
        // What we compare ourselves with is no part of the package.
        for file in rust_files(folder)
            .iter()
            .filter(|file| !file.starts_with("benches/peers/"))
        {
            let names = names(&tokens(&text(file)), &[]);
            found.extend(
                names
                    .iter()
                    .filter(|name| name.path[0].starts_with("tonic"))
                    .map(|name| format!("{file}:{}", name.line)),
            );
        }
    }
    for file in ["Cargo.lock", "fuzz/Cargo.lock"] {
        found.extend(tonic_in_lock(&text(file)).map(|line| format!("{file}: {line}")));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_spec_map_has_every_rule_and_names_what_exists() {
    let map = text("docs/spec-map.md");
    let rows: Vec<&str> = map
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| |"))
        .collect();
    let (sources, there) = sources_and_tests();
    let mut found = Vec::new();
    for (number, row) in (1..).zip(&rows) {
        let [_, label, rule, code, test, _] = row.split('|').map(str::trim).collect::<Vec<_>>()[..]
        else {
            found.push(format!("{row}: not four columns"));
            continue;
        };
        if label.parse() != Ok(number) {
            found.push(format!("{row}: rule {number} should stand here"));
        }
        let files = quoted(code)
            .filter(|name| name.ends_with(".rs") && !sources.contains(&format!("src/{name}")));
        let tests = quoted(test).filter(|name| !there.contains(*name));
        found.extend(
            files
                .chain(tests)
                .map(|name| format!("rule {label}: there is no {name}")),
        );
        if !rule.ends_with(']') {
            found.push(format!("rule {label}: from which document?"));
        }
        let reason = ["does not apply", "not built"]
            .iter()
            .any(|reason| code.contains(reason));
        if quoted(test).next().is_none() && !reason {
            found.push(format!("rule {label}: which test shows it?"));
        }
    }
    assert_eq!(rows.len(), 67, "rules in docs/spec-map.md");
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_known_attack_names_limits_and_tests_that_exist() {
    let page = text("docs/known-attacks.md");
    let (_, there) = sources_and_tests();
    let code: String = rust_files("src").iter().map(|file| text(file)).collect();
    let config = text("src/server/config.rs");
    let is_test = |name: &str| name.matches('_').count() > 2 && !name.contains(char::is_uppercase);
    let exists = |name: &str| match name.strip_prefix("Config::") {
        Some(field) => config.contains(&format!("pub {field}:")),
        None if is_test(name) => there.contains(name),
        None if name.contains(char::is_lowercase) => true,
        None => code.contains(&format!("const {name}:")),
    };
    let mut found: Vec<_> = quoted(&page)
        .filter(|name| !exists(name))
        .map(|name| format!("there is no {name}"))
        .collect();
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let attacks: Vec<_> = rows.filter(|row| !row.starts_with("| attack")).collect();
    let untested = attacks.iter().filter(|row| !quoted(row).any(is_test));
    found.extend(untested.map(|row| format!("{row}: which test does it?")));
    assert!(attacks.len() > 30, "only {attacks:?}");
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_term_of_the_memory_bound_names_tests_that_exist() {
    let page = text("docs/operations.md");
    let (_, memory) = page.split_once("## Memory").expect("a section");
    let (memory, _) = memory.split_once("\n## ").expect("and one behind it");
    let (_, there) = sources_and_tests();
    // No limit has a name as long as a sentence.
    let tests = quoted(memory).filter(|name| name.matches('_').count() > 4);
    let (found, missing): (Vec<_>, Vec<_>) = tests.partition(|name| there.contains(*name));
    assert!(found.len() > 8, "only {found:?}");
    assert!(missing.is_empty(), "there is no {missing:?}");
}

/// Every source, and the name of every test.
fn sources_and_tests() -> (Vec<String>, HashSet<String>) {
    let sources: Vec<String> = ["src", "tests"]
        .iter()
        .flat_map(|folder| rust_files(folder))
        .collect();
    let there = sources
        .iter()
        .flat_map(|file| tests(&tokens(&text(file))))
        .collect();
    (sources, there)
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The names of all tests in a source.
fn tests(tokens: &[Token]) -> Vec<String> {
    let mut names = Vec::new();
    // Whether an attribute of what comes next says so.
    let mut is_test = false;
    for three in tokens.windows(3) {
        match [&three[0].kind, &three[1].kind, &three[2].kind] {
            // `#[test]`, `#[tokio::test]`, `#[tokio::test(…)]`
            [
                Kind::Open('[') | Kind::Colons,
                Kind::Word(word),
                Kind::Close | Kind::Open('('),
            ] if word == "test" => {
                is_test = true;
            }
            [Kind::Word(word), Kind::Word(name), _] if word == "fn" => {
                if is_test {
                    names.push(name.clone());
                }
                is_test = false;
            }
            _ => {}
        }
    }
    names
}

fn tonic_in_lock(lock: &str) -> impl Iterator<Item = &str> {
    lock.lines()
        .filter(|line| line.starts_with("name = \"tonic"))
}

/// What the crate root says.
struct Root {
    /// The module that each re-exported name comes from.
    reexports: HashMap<String, String>,
}

impl Root {
    fn read(lib: &str) -> Self {
        let inside = |name: Name| match name.target() {
            Target::Inside(path) => path.into_iter().next().map(|module| (name.alias, module)),
            Target::Outside(_) => None,
        };
        Self {
            reexports: names(&tokens(lib), &[])
                .into_iter()
                .filter_map(inside)
                .collect(),
        }
    }

    /// Everything that is wrong in one file under `src/`.
    fn breaches(&self, file: &str, text: &str) -> Vec<String> {
        let module = module_of(file);
        let tokens = tokens(text);
        let mut found = unfinished(&tokens);
        if sans_io(&module) {
            found.extend(io_words(&tokens));
        }
        if !WALL_CLOCK.contains(&module.join("::").as_str()) {
            found.extend(wall_clock(&tokens));
        }
        if makes_up_no_code(&module) {
            found.extend(application_codes(&tokens));
        }
        // lib.rs is the root: it declares every module and re-exports from any.
        if let Some(top) = module.first() {
            if layer(top).is_none() && !BESIDE.contains(&top.as_str()) {
                found.push((
                    1,
                    "this module has no layer yet; it needs one here and in docs/architecture.md"
                        .to_owned(),
                ));
            }
            let names = names(&tokens, &module);
            let judged = names
                .iter()
                .filter_map(|name| Some((name.line, self.judge(&module, top, name)?)));
            found.extend(judged);
        }
        let count = text.lines().count();
        if count > MAX_LINES && module.last().is_none_or(|name| name != "tests") {
            found.push((
                MAX_LINES,
                format!("{count} lines, more than {MAX_LINES}: split it by concern"),
            ));
        }
        found
            .iter()
            .map(|(line, what)| format!("{file}:{line}: {what}"))
            .collect()
    }

    /// What is wrong with using `name` in `module`, whose topmost is `top`.
    fn judge(&self, module: &[String], top: &str, name: &Name) -> Option<String> {
        let why = match name.target() {
            Target::Outside(package) => outside(module, top, &package)?,
            Target::Inside(path) => self.inside(top, name, path.first()?)?,
        };
        Some(format!("{}: {why}", name.path.join("::")))
    }

    /// What is wrong when `top` uses `first` of the crate root.
    fn inside(&self, top: &str, name: &Name, first: &str) -> Option<String> {
        if top == "codegen" {
            // `::streamway::…` is what it writes into the code that it generates.
            let legal = match name.path[0].as_str() {
                "streamway" => true,
                head => head != "crate" && first == top,
            };
            return (!legal).then(|| "codegen imports nothing from the crate".to_owned());
        }
        if first == "*" {
            return Some("the crate root as a whole hides what is imported".to_owned());
        }
        if BESIDE.contains(&first) {
            return (first != top)
                .then(|| format!("{first} stands beside the layers; nothing imports it"));
        }
        let defining = match self.reexports.get(first) {
            _ if layer(first).is_some() => first,
            Some(module) => module,
            None => return Some(format!("the crate root has no {first} with a layer")),
        };
        if matches!((top, defining), ("server", "client") | ("client", "server")) {
            return Some("server and client never meet".to_owned());
        }
        let upward = layer(top)
            .zip(layer(defining))
            .is_some_and(|(from, to)| to > from);
        upward.then(|| format!("{top} imports upward, from {defining}"))
    }
}

/// What is wrong with another package in `module`, whose topmost is `top`.
fn outside(module: &[String], top: &str, package: &str) -> Option<String> {
    let family = package.split('_').next().unwrap_or(package);
    match family {
        "tonic" => Some("this is what we do not use".to_owned()),
        "tokio" | "h2" | "hyper" if sans_io(module) => {
            Some(format!("{} does no I/O", module.join("::")))
        }
        "hyper" | "axum" | "tower" if top != "gateway" => {
            Some("only the gateway may name it".to_owned())
        }
        _ => None,
    }
}

/// What no finished source has.
fn unfinished(tokens: &[Token]) -> Vec<(usize, String)> {
    let breach = |three: &[Token]| match [&three[0].kind, &three[1].kind, &three[2].kind] {
        [Kind::Word(word), Kind::Mark('!'), Kind::Open(_)]
            if ["todo", "unimplemented", "dbg"].contains(&word.as_str()) =>
        {
            Some((three[0].line, format!("{word}! is not finished work")))
        }
        [Kind::Open('['), Kind::Word(word), Kind::Mark('=')] if word == "path" => Some((
            three[1].line,
            "#[path]: the folders are the module tree".to_owned(),
        )),
        _ => None,
    };
    tokens.windows(3).filter_map(breach).collect()
}

/// What a module without I/O does not say.
fn io_words(tokens: &[Token]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut before = &Kind::Literal;
    for Token { kind, line } in tokens {
        match kind {
            Kind::Word(word) if word == "async" || word == "await" => {
                found.push((*line, format!("{word} without I/O")));
            }
            Kind::Word(word) if word == "now" && *before == Kind::Colons => {
                found.push((*line, "a clock without I/O: time is an argument".to_owned()));
            }
            _ => {}
        }
        before = kind;
    }
    found
}

/// What goes wrong when somebody sets the clock.
fn wall_clock(tokens: &[Token]) -> Vec<(usize, String)> {
    let words = tokens.iter().filter_map(|token| match &token.kind {
        Kind::Word(word) if WALL_CLOCK_WORDS.contains(&word.as_str()) => {
            Some((token.line, format!("{word}: this clock may jump")))
        }
        _ => None,
    });
    words.collect()
}

/// Codes that are the application's, up to the tests of the module.
fn application_codes(tokens: &[Token]) -> Vec<(usize, String)> {
    let tests = tokens.windows(3).position(|three| {
        matches!(
            [&three[0].kind, &three[1].kind, &three[2].kind],
            [Kind::Word(cfg), Kind::Open('('), Kind::Word(test)] if cfg == "cfg" && test == "test"
        )
    });
    let code = |two: &[Token]| match [&two[0].kind, &two[1].kind] {
        [Kind::Colons, Kind::Word(name)] if APPLICATION_CODES.contains(&name.as_str()) => Some((
            two[1].line,
            format!("{name} is a code that only applications use"),
        )),
        _ => None,
    };
    let before_them = &tokens[..tests.unwrap_or(tokens.len())];
    before_them.windows(2).filter_map(code).collect()
}

/// Whether a module is below the standard services; the codes themselves are made in `status`.
fn makes_up_no_code(module: &[String]) -> bool {
    let top = module.first().map(String::as_str);
    top.is_some_and(|top| top != "status" && layer(top).is_some_and(|layer| layer < 4))
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn sans_io(module: &[String]) -> bool {
    let low = module
        .first()
        .and_then(|top| layer(top))
        .is_some_and(|layer| layer < 2);
    low || SANS_IO.contains(&module.get(..2).unwrap_or_default().join("::").as_str())
}

/// Every `.rs` file below `folder`, by its path from the package's root; none when there is no such folder.
fn rust_files(folder: &str) -> Vec<String> {
    let mut files = files(folder, &|_| true);
    files.retain(|file| file.ends_with(".rs"));
    files
}

/// Every file below `folder` but for the folders that are not to be entered.
fn files(folder: &str, enter: &dyn Fn(&str) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.expect("a readable folder");
        let name = entry.file_name();
        let path = format!("{folder}/{}", name.to_str().expect("a plain name"));
        match entry.file_type().expect("a readable folder").is_dir() {
            true if enter(&path) => found.extend(files(&path, enter)),
            true => {}
            false => found.push(path),
        }
    }
    found.sort();
    found
}

fn text(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(path).expect(file)
}

const LIB: &str =
    "pub mod codec; pub use self::codec::{Codec, Encoding as E}; pub use self::server::Server;";

/// File | source | what is found.
const BREACHES: &str = r##"
src/status/mod.rs | use crate::codec::Codec; | status imports upward, from codec
src/status/wire.rs | use super::super::codec::Codec; | status imports upward, from codec
src/codec/frame.rs | fn f() { crate::call::g() } | codec imports upward, from call
src/codec/frame.rs | use ::streamway::call; | codec imports upward, from call
src/codec/frame.rs | use {std::fmt, crate::{status::Status, server::{self}}}; | codec imports upward, from server
src/call/recv.rs | macro_rules! m { () => { $crate::server::f() } } | call imports upward, from server
src/call/mod.rs | use crate::Server; | call imports upward, from server
src/status/mod.rs | use crate::E; | status imports upward, from codec
src/method.rs | #[cfg(test)] mod tests { use super::super::codec::X; } | method imports upward, from codec
src/server/mod.rs | use crate::health::Health; | server imports upward, from health
src/reflection/mod.rs | use crate::service::Orders; | reflection imports upward, from service
src/server/mod.rs | use crate::client::Channel; | server and client never meet
src/client/channel.rs | type S = crate::Server; | server and client never meet
src/server/mod.rs | use crate::*; | the crate root as a whole
src/server/mod.rs | use crate::missing::X; | the crate root has no missing
src/server/mod.rs | use crate::codegen::X; | codegen stands beside the layers
src/util.rs | struct X; | no layer yet
src/codec/mod.rs | use tokio::io::AsyncRead; | codec does no I/O
src/protocol/mod.rs | fn f(e: &h2::Error) {} | protocol does no I/O
src/protocol/mod.rs | extern crate tokio_util; | protocol does no I/O
src/status/mod.rs | mod tests { #[tokio::test] fn f() {} } | status does no I/O
src/reflection/index.rs | use ::tokio; | reflection::index does no I/O
src/client/reconnect.rs | use {std::io, h2 as http2}; | client::reconnect does no I/O
src/codec/mod.rs | async fn f() {} | async without I/O
src/client/reconnect.rs | fn f() { std::time::Instant::now(); } | time is an argument
src/server/mod.rs | use hyper::Request; | only the gateway
src/cli/serve.rs | use hyper_util::rt::TokioIo; | only the gateway
src/cli/mod.rs | fn f() { axum::serve() } | only the gateway
src/server/mod.rs | use tower::Service; | only the gateway
src/gateway/mod.rs | use tonic::Status; | what we do not use
src/codegen/mod.rs | use crate::status::Status; | codegen imports nothing
src/codegen/mod.rs | fn f() { crate::codegen::g() } | codegen imports nothing
src/codegen/client.rs | use super::super::method::Method; | codegen imports nothing
src/call/mod.rs | fn f() { todo!() } | todo! is not finished
src/call/mod.rs | fn f() { unimplemented!["later"] } | unimplemented! is not finished
src/lib.rs | fn f() { dbg!(1); } | dbg! is not finished
src/call/mod.rs | fn f() { std::time::SystemTime::now(); } | this clock may jump
src/objects/cleaner.rs | use std::time::UNIX_EPOCH; | this clock may jump
src/call/mod.rs | #[path = "../client/mod.rs"] mod peer; | #[path]
src/server/mod.rs | fn f() { Status::not_found("it") } | only applications use
src/client/mod.rs | fn f() -> Code { crate::status::Code::Aborted } | only applications use
"##;

/// File | source that is as it should be.
const LEGAL: &str = r##"
src/lib.rs | pub use self::server::Server; extern crate self as streamway;
src/main.rs | use streamway::cli; fn main() { cli::run() }
src/call/mod.rs | use crate::Codec; use crate::status::{Code, Status}; use h2::Reason;
src/server/mod.rs | use tokio::net::TcpListener; use crate::interceptor::Interceptor;
src/codec/mod.rs | /** `tokio` and [`crate::server`] */ fn f() { let h2 = "crate::server, todo!()"; }
src/codec/mod.rs | fn f<'tokio>(a: &'tokio u8) { if todo != 1 {} }
src/codec/frame.rs | use super::*; use super::compression::compress; fn f() { self::g(); Self::new(); }
src/gateway/mod.rs | use axum::Router; use hyper::body; use crate::client::Channel;
src/codegen/mod.rs | use super::codegen::x; quote! { ::streamway::Status };
src/client/mod.rs | use std::time::Instant; fn f() { Instant::now(); }
src/client/reconnect.rs | use std::time::Instant; fn f(now: Instant) {}
src/objects/upload.rs | use std::time::{SystemTime, UNIX_EPOCH};
src/fuzz.rs | use crate::{codec, status};
src/health.rs | fn f() { Status::not_found("it") }
src/call/mod.rs | fn f() {} #[cfg(test)] mod tests { const CODE: Code = Code::Aborted; }
"##;

fn found(file: &str, source: &str) -> Vec<String> {
    Root::read(LIB).breaches(file, source)
}

#[test]
fn a_breach_is_found() {
    for row in BREACHES.trim().lines() {
        let [file, source, expected] = row.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{row}: not three columns");
        };
        let found = found(file, source);
        assert!(
            matches!(&found[..], [one] if one.contains(expected)),
            "{row}\nfound {found:?}"
        );
    }
}

#[test]
fn what_keeps_to_the_rules_is_let_through() {
    for row in LEGAL.trim().lines() {
        let (file, source) = row.split_once(" | ").expect("two columns");
        assert_eq!(found(file, source), [""; 0], "{row}");
    }
}

#[test]
fn a_long_file_is_found_unless_it_is_tests() {
    for (file, count, legal) in [
        ("src/call/mod.rs", MAX_LINES, true),
        ("src/call/mod.rs", MAX_LINES + 1, false),
        ("src/call/tests.rs", MAX_LINES + 1, true),
    ] {
        assert_eq!(
            found(file, &"\n".repeat(count)).is_empty(),
            legal,
            "{file}: {count}"
        );
    }
}

#[test]
fn tonic_in_a_lock_file_is_found() {
    assert_eq!(
        tonic_in_lock("name = \"prost\"\nname = \"tonic-build\"\n").count(),
        1
    );
}

#[test]
fn tests_are_found_by_their_attribute() {
    let source = "fn a() {} #[test] fn b() {} fn c() {} #[tokio::test(start_paused = true)] async fn d() {}
        proptest! { #[test] fn e(x in 1..2) { let test = f(test); } } #[cfg(test)] mod tests { fn g() {} }";
    assert_eq!(tests(&tokens(source)), ["b", "d", "e"]);
}
