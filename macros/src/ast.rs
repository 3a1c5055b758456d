//! What a task's function looks like to the macro.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::{
    Attribute, FnArg, LitStr, Pat, PatType, PathArguments, Signature, Token, Type, Visibility,
};

/// A function with a body, or the contract of one that runs elsewhere.
pub(crate) struct TaskFn {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    /// As written, without the marks of parameters.
    pub(crate) sig: Signature,
    /// The marks of each input, in order.
    pub(crate) marks: Vec<Vec<Attribute>>,
    /// The tokens of the body as they are; `None` for a contract.
    pub(crate) body: Option<TokenStream>,
}

impl Parse for TaskFn {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        check_is_function(input)?;
        let mut sig: Signature = input.parse()?;
        let marks = sig.inputs.iter_mut().map(take_marks).collect();
        let body = if input.peek(Token![;]) {
            input.parse::<Token![;]>()?;
            None
        } else {
            // never parsed: a body that is half typed keeps its completion
            Some(input.parse()?)
        };
        Ok(Self {
            attrs,
            vis,
            sig,
            marks,
            body,
        })
    }
}

/// Says what the attribute is for; a function that is only half typed has rustc's own message.
fn check_is_function(input: ParseStream<'_>) -> syn::Result<()> {
    let ahead = input.fork();
    while ahead.peek(Token![const])
        || ahead.peek(Token![async])
        || ahead.peek(Token![unsafe])
        || ahead.peek(Token![extern])
        || ahead.peek(LitStr)
    {
        ahead.parse::<TokenTree>()?;
    }
    if ahead.peek(Token![fn]) {
        Ok(())
    } else {
        Err(input.error("`#[task]` goes on a function"))
    }
}

fn take_marks(input: &mut FnArg) -> Vec<Attribute> {
    match input {
        FnArg::Receiver(_) => Vec::new(),
        FnArg::Typed(param) => {
            let is_mark = |attr: &mut Attribute| is(attr, "inject") || is(attr, "arg");
            param.attrs.extract_if(.., is_mark).collect()
        }
    }
}

fn is(attr: &Attribute, name: &str) -> bool {
    attr.path().is_ident(name)
}

impl TaskFn {
    /// The attributes of this name.
    pub(crate) fn attrs_called<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Attribute> {
        self.attrs.iter().filter(move |attr| is(attr, name))
    }

    /// True for `#[doc(hidden)]`.
    pub(crate) fn is_hidden(&self) -> bool {
        self.attrs_called("doc").any(|attr| {
            attr.parse_args::<Ident>()
                .is_ok_and(|word| word == "hidden")
        })
    }

    /// The function's name without `r#`, as it is on the wire.
    pub(crate) fn plain_name(&self) -> String {
        self.sig.ident.unraw().to_string()
    }

    /// The parameters with a pattern and a type, and the marks of each.
    pub(crate) fn typed(&self) -> impl Iterator<Item = (&PatType, &[Attribute])> {
        let inputs = self.sig.inputs.iter().zip(&self.marks);
        inputs.filter_map(|(input, marks)| match input {
            FnArg::Typed(param) => Some((param, &marks[..])),
            FnArg::Receiver(_) => None,
        })
    }
}

/// Where the value of a parameter comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The message.
    Message {
        /// True if `#[arg]` says so.
        marked: bool,
    },
    /// The worker.
    Worker,
}

/// What a mark says, or else what the type's name says: `State<..>` and `TaskContext` come from the worker.
pub(crate) fn source(param: &PatType, marks: &[Attribute]) -> Source {
    match marks.first() {
        Some(mark) if is(mark, "inject") => Source::Worker,
        Some(_) => Source::Message { marked: true },
        None if has_injected_name(&param.ty) => Source::Worker,
        None => Source::Message { marked: false },
    }
}

fn has_injected_name(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|segment| {
            segment.ident == "TaskContext"
                || (segment.ident == "State"
                    && matches!(segment.arguments, PathArguments::AngleBracketed(_)))
        }),
        Type::Group(group) => has_injected_name(&group.elem),
        Type::Paren(paren) => has_injected_name(&paren.elem),
        // refused later, with the reason that fits
        Type::Reference(reference) => has_injected_name(&reference.elem),
        _ => false,
    }
}

/// The name of an argument, if its pattern is one.
pub(crate) fn argument_name(param: &PatType) -> Option<&Ident> {
    match &*param.pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => Some(&pat.ident),
        _ => None,
    }
}

/// The type as a person would write it: `Option<Vec<u8>>`.
pub(crate) fn type_text(tokens: TokenStream) -> String {
    let mut text = String::new();
    write_tokens(tokens, &mut text);
    text
}

fn write_tokens(tokens: TokenStream, text: &mut String) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let inner = group.stream();
                let (open, close) = match group.delimiter() {
                    proc_macro2::Delimiter::Parenthesis => ("(", ")"),
                    proc_macro2::Delimiter::Bracket => ("[", "]"),
                    proc_macro2::Delimiter::Brace => ("{", "}"),
                    proc_macro2::Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write_tokens(inner, text);
                text.push_str(close);
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                c @ (',' | ';') => text.extend([c, ' ']),
                c @ ('+' | '=') => text.extend([' ', c, ' ']),
                c => text.push(c),
            },
            word => {
                if text.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                    text.push(' ');
                }
                text.push_str(&word.to_string());
            }
        }
    }
}

/// The same tokens, reported at `span`, with the hygiene they have.
pub(crate) fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut token| {
            token.set_span(span.resolved_at(token.span()));
            token
        })
        .collect()
}
