//! Texts for readers: doc comments and printed messages, drawn by a seed for a reader with fresh eyes, and figures of
//! the texts and of the files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use proc_macro2::{TokenStream, TokenTree};
use sha2::{Digest, Sha256};
use syn::visit::Visit;
use syn::{Attribute, Expr, ItemFn, ItemMod, Lit, LitStr, Macro, Meta};

use crate::shell::sources_below;

/// The crates that users build. Texts that only developers read are left out.
const SHIPPED: [&str; 11] = [
    "src",
    "kc-actors/src",
    "kc-backend-pure/src",
    "kc-backend-rdkafka/src",
    "kc-broker/src",
    "kc-cli/src",
    "kc-core/src",
    "kc-files/src",
    "kc-kernels/src",
    "kc-keystore-file/src",
    "kc-keystore-hsm/src",
];

/// Openings after which a reader must guess the subject.
const VAGUE: [&str; 9] = [
    "what", "where", "who", "whose", "how", "whether", "when", "which", "whoever",
];

/// The minimum number of words of a message; a shorter string is a name.
const MIN_WORDS: usize = 3;

#[derive(Args)]
pub(crate) struct Options {
    /// The number of doc comments, and of messages, to draw.
    #[arg(long, default_value_t = 60)]
    count: usize,
    /// The seed; another seed draws other texts.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print only the figures.
    #[arg(long)]
    figures: bool,
}

/// Prints the drawn texts, and the figures.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut sources = Vec::new();
    for folder in SHIPPED {
        for file in sources_below(folder.as_ref())? {
            if !is_test(&file) {
                sources.push(Source::read(file)?);
            }
        }
    }
    if !options.figures {
        draw("doc comments", options, &sources, |source| &source.docs);
        draw("messages", options, &sources, |source| &source.messages);
    }
    print_figures(&sources);
    Ok(())
}

fn is_test(file: &Path) -> bool {
    file.components().any(|part| {
        let name = part.as_os_str();
        name == "tests" || name == "tests.rs"
    })
}

struct Text {
    line: usize,
    text: String,
}

struct Source {
    file: PathBuf,
    lines: usize,
    docs: Vec<Text>,
    messages: Vec<Text>,
}

impl Source {
    fn read(file: PathBuf) -> anyhow::Result<Self> {
        let context = || file.display().to_string();
        let source = fs::read_to_string(&file).with_context(context)?;
        let parsed = syn::parse_file(&source).with_context(context)?;
        let mut collector = Collector::default();
        collector.visit_file(&parsed);
        Ok(Self {
            lines: source.lines().count(),
            docs: joined(collector.docs),
            messages: collector.messages,
            file,
        })
    }
}

/// Joins the lines of each doc comment.
fn joined(mut lines: Vec<Text>) -> Vec<Text> {
    lines.sort_by_key(|line| line.line);
    let mut docs: Vec<(usize, Text)> = Vec::new();
    for Text { line, text } in lines {
        match docs.last_mut() {
            Some((last, doc)) if *last + 1 == line => {
                *last = line;
                doc.text.push('\n');
                doc.text.push_str(text.trim());
            }
            _ => {
                let text = text.trim().to_owned();
                docs.push((line, Text { line, text }));
            }
        }
    }
    docs.into_iter().map(|(_, doc)| doc).collect()
}

#[derive(Default)]
struct Collector {
    docs: Vec<Text>,
    messages: Vec<Text>,
}

impl Collector {
    fn message(&mut self, text: &LitStr) {
        let line = text.span().start().line;
        let text = text.value();
        if text.split_whitespace().count() >= MIN_WORDS {
            self.messages.push(Text { line, text });
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => match doc_line(group.stream()) {
                    Some(line) => self.docs.push(line),
                    None => self.tokens(group.stream()),
                },
                TokenTree::Literal(literal) => {
                    if let Lit::Str(text) = Lit::new(literal) {
                        self.message(&text);
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

/// Returns the text of the content `doc = "..."` of an attribute, the form of a doc comment inside a macro.
fn doc_line(attribute: TokenStream) -> Option<Text> {
    let mut tokens = attribute.into_iter();
    let (Some(TokenTree::Ident(name)), Some(TokenTree::Punct(_)), Some(TokenTree::Literal(text))) =
        (tokens.next(), tokens.next(), tokens.next())
    else {
        return None;
    };
    let Lit::Str(text) = Lit::new(text) else {
        return None;
    };
    (name == "doc").then(|| Text {
        line: text.span().start().line,
        text: text.value(),
    })
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && matches!(&attribute.meta, Meta::List(list) if list.tokens.to_string() == "test")
    })
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_for_tests(&module.attrs) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        if !is_for_tests(&function.attrs) {
            syn::visit::visit_item_fn(self, function);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => {
                if let Expr::Lit(literal) = &pair.value
                    && let Lit::Str(text) = &literal.lit
                {
                    let line = text.span().start().line;
                    let text = text.value();
                    self.docs.push(Text { line, text });
                }
            }
            Meta::List(list) if list.path.is_ident("error") => self.tokens(list.tokens.clone()),
            _ => {}
        }
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.tokens(call.tokens.clone());
    }

    fn visit_lit_str(&mut self, text: &'ast LitStr) {
        self.message(text);
    }
}

fn draw(what: &str, options: &Options, sources: &[Source], texts: impl Fn(&Source) -> &[Text]) {
    let mut all: Vec<_> = sources
        .iter()
        .flat_map(|source| texts(source).iter().map(|text| (&source.file, text)))
        .map(|(file, text)| {
            let place = format!("{}:{}", file.display(), text.line);
            let mut hash = Sha256::new();
            hash.update(options.seed.to_le_bytes());
            hash.update(&place);
            (<[u8; 32]>::from(hash.finalize()), place, text)
        })
        .collect();
    all.sort_unstable_by_key(|(hash, ..)| *hash);
    println!("# {} of {} {what}", options.count.min(all.len()), all.len());
    for (_, place, text) in all.iter().take(options.count) {
        println!("\n{place}");
        for line in text.text.lines() {
            println!("    {line}");
        }
    }
    println!();
}

fn print_figures(sources: &[Source]) {
    let mut lines: Vec<usize> = sources.iter().map(|source| source.lines).collect();
    lines.sort_unstable();
    let median = lines.get(lines.len() / 2).copied().unwrap_or_default();
    let below = |limit| lines.iter().filter(|lines| **lines < limit).count();
    println!(
        "files: {}, {} lines, median {median}, longest {}",
        lines.len(),
        lines.iter().sum::<usize>(),
        lines.last().copied().unwrap_or_default()
    );
    println!(
        "files below 60 lines: {}; below 100 lines: {}",
        share(below(60), lines.len()),
        share(below(100), lines.len())
    );
    let docs: Vec<_> = sources.iter().flat_map(|source| &source.docs).collect();
    let vague = docs.iter().filter(|doc| is_vague(&doc.text)).count();
    println!(
        "doc comments that open with {}: {}",
        VAGUE.join(", "),
        share(vague, docs.len())
    );
    let errors: Vec<_> = docs
        .iter()
        .filter_map(|doc| errors_section(&doc.text))
        .collect();
    let bare = errors
        .iter()
        .filter(|section| section.split_whitespace().count() < MIN_WORDS)
        .count();
    println!(
        "sections `# Errors` that are only a link: {}",
        share(bare, errors.len())
    );
}

fn share(part: usize, all: usize) -> String {
    format!("{part} of {all} ({} %)", part * 100 / all.max(1))
}

fn is_vague(doc: &str) -> bool {
    let first = doc.split_whitespace().next().unwrap_or_default();
    VAGUE.contains(&first.to_lowercase().as_str())
}

/// Returns the text of the section `# Errors`.
fn errors_section(doc: &str) -> Option<&str> {
    let (_, section) = doc.split_once("# Errors\n")?;
    Some(section.split("\n#").next().unwrap_or(section))
}
