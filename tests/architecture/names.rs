//! The names that a source uses: every path in it, whether imported or written out, in macros too.
//!
//! In: Rust source and the module that it is. Out: paths, resolved as far as the text tells. Not here: which of them
//! are allowed.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// One token of a source, and the line it stands in. Comments are gone, literals have lost their text.
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) line: usize,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Kind {
    Word(String),
    /// `::`
    Colons,
    Mark(char),
    Open(char),
    Close,
    Literal,
}

/// A path as it stands in a source: `super::wire::GRPC_STATUS`, or one leaf of a `use` tree.
pub(crate) struct Name {
    pub(crate) path: Vec<String>,
    /// The last segment, or what `as` makes of it.
    pub(crate) alias: String,
    pub(crate) line: usize,
    /// The module it stands in, inline modules included.
    module: Vec<String>,
}

/// What a path names.
#[derive(Debug, PartialEq)]
pub(crate) enum Target {
    /// Something of this package, by its path from the crate root.
    Inside(Vec<String>),
    /// Another package, or something that an import made known.
    Outside(String),
}

impl Name {
    pub(crate) fn target(&self) -> Target {
        let mut base = self.module.clone();
        let mut rest = self.path.as_slice();
        match rest.first().map(String::as_str) {
            Some("crate" | "streamway") => base.clear(),
            Some("self") => {}
            Some("super") => {
                while rest.get(1).is_some_and(|next| next == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
                base.pop();
            }
            head => return Target::Outside(head.unwrap_or_default().to_owned()),
        }
        base.extend_from_slice(&rest[1..]);
        Target::Inside(base)
    }
}

/// The module that a file under `src/` is: `src/codec/mod.rs` is `codec`, `src/codec/frame.rs` is `codec::frame`.
pub(crate) fn module_of(file: &str) -> Vec<String> {
    let path = file.strip_prefix("src/").unwrap_or(file);
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" {
        return Vec::new();
    }
    path.split('/').map(str::to_owned).collect()
}

/// The tokens of a source.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    flatten(text.parse().expect("what compiles has tokens"), &mut tokens);
    tokens
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        let mut push = |kind| tokens.push(Token { kind, line });
        match tree {
            TokenTree::Ident(word) => push(Kind::Word(
                word.to_string().trim_start_matches("r#").to_owned(),
            )),
            TokenTree::Literal(_) => push(Kind::Literal),
            TokenTree::Punct(mark) => match (mark.as_char(), trees.peek()) {
                // A lifetime is no name.
                ('\'', Some(TokenTree::Ident(_))) => drop(trees.next()),
                (':', Some(TokenTree::Punct(second)))
                    if mark.spacing() == Spacing::Joint && second.as_char() == ':' =>
                {
                    trees.next();
                    push(Kind::Colons);
                }
                (mark, _) => push(Kind::Mark(mark)),
            },
            TokenTree::Group(group) => {
                push(Kind::Open(match group.delimiter() {
                    Delimiter::Brace => '{',
                    Delimiter::Bracket => '[',
                    Delimiter::Parenthesis => '(',
                    Delimiter::None => ' ',
                }));
                flatten(group.stream(), tokens);
                let line = group.span_close().start().line;
                tokens.push(Token {
                    kind: Kind::Close,
                    line,
                });
            }
        }
    }
}

/// Every path of two segments or more, and every import, in a source that is `module`.
pub(crate) fn names(tokens: &[Token], module: &[String]) -> Vec<Name> {
    let mut reader = Reader {
        tokens,
        at: 0,
        module: module.to_vec(),
        inline: Vec::new(),
        names: Vec::new(),
    };
    reader.read();
    reader.names
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    module: Vec<String>,
    /// For each bracket that is open, whether it is the body of an inline module.
    inline: Vec<bool>,
    names: Vec<Name>,
}

impl Reader<'_> {
    fn read(&mut self) {
        while let Some(kind) = self.kind(0) {
            match kind {
                Kind::Word(word) if word == "mod" && self.kind(2) == Some(&Kind::Open('{')) => {
                    let name = self.word(1).unwrap_or_default();
                    self.module.push(name);
                    self.inline.push(true);
                    self.at += 3;
                }
                Kind::Open(_) => {
                    self.inline.push(false);
                    self.at += 1;
                }
                Kind::Close => {
                    if self.inline.pop() == Some(true) {
                        self.module.pop();
                    }
                    self.at += 1;
                }
                // `use<'a>` captures lifetimes and imports nothing.
                Kind::Word(word) if word == "use" && self.kind(1) != Some(&Kind::Mark('<')) => {
                    self.at += 1;
                    self.tree(&[]);
                }
                Kind::Word(word)
                    if word == "extern" && self.word(1).is_some_and(|next| next == "crate") =>
                {
                    self.at += 2;
                    // `extern crate self as streamway` only gives the crate its own name.
                    if self.word(0).is_some_and(|name| name != "self") {
                        self.tree(&[]);
                    }
                }
                Kind::Word(_) => self.path(),
                Kind::Colons | Kind::Mark(_) | Kind::Literal => self.at += 1,
            }
        }
    }

    /// A path in the midst of code.
    fn path(&mut self) {
        let line = self.tokens[self.at].line;
        let segments = self.segments();
        if segments.len() > 1 {
            self.push(segments, None, line);
        }
    }

    /// A `use` tree, or one branch of it, after `prefix`.
    fn tree(&mut self, prefix: &[String]) {
        if self.kind(0) == Some(&Kind::Colons) {
            self.at += 1;
        }
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        let mut path = prefix.to_vec();
        path.extend(self.segments());
        match self.kind(0) {
            Some(Kind::Open('{')) => {
                self.at += 1;
                while self.kind(0).is_some_and(|kind| *kind != Kind::Close) {
                    self.tree(&path);
                    if self.kind(0) == Some(&Kind::Mark(',')) {
                        self.at += 1;
                    }
                }
                self.at += 1;
            }
            Some(Kind::Mark('*')) => {
                self.at += 1;
                path.push("*".to_owned());
                self.push(path, None, line);
            }
            Some(Kind::Word(word)) if word == "as" => {
                let alias = self.word(1);
                self.at += 2;
                self.push(path, alias, line);
            }
            _ => {
                // `use a::{self}` imports a.
                if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                    path.pop();
                }
                self.push(path, None, line);
            }
        }
    }

    /// `a::b::c`, and the `::` after it if a tree or a `*` follows.
    fn segments(&mut self) -> Vec<String> {
        let mut segments = Vec::new();
        while let Some(word) = self.word(0) {
            segments.push(word);
            self.at += 1;
            if self.kind(0) != Some(&Kind::Colons) {
                break;
            }
            self.at += 1;
        }
        segments
    }

    fn push(&mut self, path: Vec<String>, alias: Option<String>, line: usize) {
        let last = path.last().cloned().unwrap_or_default();
        let alias = alias.unwrap_or(last);
        self.names.push(Name {
            path,
            alias,
            line,
            module: self.module.clone(),
        });
    }

    fn kind(&self, ahead: usize) -> Option<&Kind> {
        self.tokens.get(self.at + ahead).map(|token| &token.kind)
    }

    fn word(&self, ahead: usize) -> Option<String> {
        match self.kind(ahead) {
            Some(Kind::Word(word)) => Some(word.clone()),
            _ => None,
        }
    }
}

#[test]
fn names_are_found_wherever_they_stand_and_resolved() {
    let source = r##"
        //! use crate::comment::X;
        use std::{fmt, io::{self, Read}};
        pub(crate) use super::sibling as brother;
        pub(in crate::a) struct S<'tokio>(u8);
        macro_rules! m { () => { $crate::from_macro::f() } }
        fn f() { let s = "crate::text"; /* crate::comment */ ::tokio::spawn(self::g::<crate::turbofish::T>()); }
        mod inner { use super::super::{up::*}; mod deeper { fn f() { super::f() } } }
        #[h2::attribute] fn g() -> impl Sized + use<'_> {}
    "##;
    let here = ["a".to_owned(), "b".to_owned()];
    let found = names(&tokens(source), &here)
        .into_iter()
        .map(|name| match name.target() {
            Target::Inside(path) => format!("crate::{}", path.join("::")),
            Target::Outside(head) => head,
        });
    assert_eq!(
        found.collect::<Vec<_>>(),
        [
            "std",
            "std",
            "std",
            "crate::a::sibling",
            "crate::a",
            "crate::from_macro::f",
            "tokio",
            "crate::a::b::g",
            "crate::turbofish::T",
            "crate::a::up::*",
            "crate::a::b::inner::f",
            "h2",
        ]
    );
}
