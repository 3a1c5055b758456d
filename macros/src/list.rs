//! Lists of options: `name`, `name = value` and `name(..)`, separated by commas.
//!
//! A wrong option is skipped to the next comma, so that each has its own message and the right ones still count.

use std::fmt::Display;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{LitInt, LitStr, Token};

use crate::problems::Problems;

/// Reads a list; `take` reads what follows the name of one of the `known` options.
pub(crate) fn parse(
    tokens: TokenStream,
    owner: &str,
    known: &[&str],
    problems: &mut Problems,
    mut take: impl FnMut(&Ident, ParseStream<'_>) -> syn::Result<()>,
) {
    let all = |input: ParseStream<'_>| {
        let mut seen = Vec::new();
        while !input.is_empty() {
            if let Err(error) = one(input, owner, known, &mut seen, &mut take) {
                problems.push(error);
                skip(input)?;
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    };
    // every token is consumed, so nothing is left to fail
    if let Err(error) = all.parse2(tokens) {
        problems.push(error);
    }
}

fn one(
    input: ParseStream<'_>,
    owner: &str,
    known: &[&str],
    seen: &mut Vec<Ident>,
    take: &mut impl FnMut(&Ident, ParseStream<'_>) -> syn::Result<()>,
) -> syn::Result<()> {
    let allowed = || format!("{owner} knows {}", enumerate(known));
    if !input.peek(syn::Ident::peek_any) {
        return Err(input.error(format!("expected an option: {}", allowed())));
    }
    let name = input.call(Ident::parse_any)?;
    if !known.iter().any(|known| name == known) {
        return Err(error(
            name.span(),
            format!("unknown option `{name}`: {}", allowed()),
        ));
    }
    if seen.contains(&name) {
        return Err(error(name.span(), format!("`{name}` is given twice")));
    }
    seen.push(name.clone());
    take(&name, input)?;
    if input.is_empty() || input.peek(Token![,]) {
        Ok(())
    } else {
        Err(input.error(format!("expected `,` after the option `{name}`")))
    }
}

/// Leaves the rest of a wrong option unread.
fn skip(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// Reads the `=` of an option with a value.
pub(crate) fn equals(name: &Ident, input: ParseStream<'_>, example: &str) -> syn::Result<()> {
    if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        if !input.is_empty() {
            return Ok(());
        }
    }
    Err(error(
        name.span(),
        format!("`{name}` needs a value: `{name} = {example}`"),
    ))
}

/// Checks that an option without a value has none.
pub(crate) fn flag(name: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
    if input.is_empty() || input.peek(Token![,]) {
        Ok(())
    } else {
        Err(error(
            name.span(),
            format!("`{name}` takes no value: write only `{name}`"),
        ))
    }
}

/// Reads `= ".."`.
pub(crate) fn text(name: &Ident, input: ParseStream<'_>, example: &str) -> syn::Result<LitStr> {
    equals(name, input, example)?;
    if input.peek(LitStr) {
        input.parse()
    } else {
        Err(input.error(format!("`{name}` is a text: `{name} = {example}`")))
    }
}

/// Reads `= <number>`, at least `least`.
pub(crate) fn number<N>(
    name: &Ident,
    input: ParseStream<'_>,
    example: &str,
    least: N,
) -> syn::Result<N>
where
    N: Copy + std::str::FromStr<Err: Display> + PartialOrd + Display + Bounded,
{
    equals(name, input, example)?;
    let range = format!("`{name}` is a number from {least} to {}", N::MOST);
    if !input.peek(LitInt) {
        return Err(input.error(range));
    }
    let literal: LitInt = input.parse()?;
    match literal.base10_parse::<N>() {
        Ok(number) if number >= least => Ok(number),
        _ => Err(error(literal.span(), range)),
    }
}

/// A number type with a largest value.
pub(crate) trait Bounded {
    const MOST: Self;
}

impl Bounded for u8 {
    const MOST: Self = Self::MAX;
}

impl Bounded for u16 {
    const MOST: Self = Self::MAX;
}

impl Bounded for u32 {
    const MOST: Self = Self::MAX;
}

/// Reads the tokens between the parentheses of `name(..)`.
pub(crate) fn parenthesized(
    name: &Ident,
    input: ParseStream<'_>,
    example: &str,
) -> syn::Result<TokenStream> {
    if input.peek(syn::token::Paren) {
        let content;
        syn::parenthesized!(content in input);
        content.parse()
    } else {
        Err(error(
            name.span(),
            format!("`{name}` has its options in parentheses: `{example}`"),
        ))
    }
}

/// Names in backticks, as in "`a`, `b` and `c`".
pub(crate) fn enumerate<T: Display>(names: &[T]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

pub(crate) fn error(span: Span, message: impl Display) -> syn::Error {
    syn::Error::new(span, message)
}
