//! `#[derive(Queue)]`.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens as _, quote};
use syn::ext::IdentExt as _;
use syn::parse::{ParseBuffer, ParseStream, Parser as _};
use syn::{Attribute, DeriveInput, LitStr, Meta, Path, Token};

use crate::attr::facade;
use crate::expand::Private;
use crate::list::{self, error};
use crate::name;
use crate::problems::Problems;

#[derive(Default)]
struct QueueOptions {
    name: Option<LitStr>,
    concurrency: Option<(Ident, u32)>,
    prefetch: Option<(Ident, u16)>,
    delivery_limit: Option<u32>,
    bind: Vec<LitStr>,
    facade: Option<Path>,
}

const OPTIONS: &[&str] = &[
    "name",
    "concurrency",
    "prefetch",
    "delivery_limit",
    "bind",
    "crate",
];

/// The implementation of `Queue`, and what is wrong with its options.
pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let mut problems = Problems::default();
    if !input.generics.params.is_empty() {
        problems.at(
            &input.generics.params,
            "a queue cannot be generic: its type stands for one queue on the broker",
        );
        return problems.to_compile_errors();
    }
    let options = QueueOptions::parse(input, &mut problems);
    let implementation = expand(&input.ident, &options);
    let errors = problems.to_compile_errors();
    quote!(#implementation #errors)
}

impl QueueOptions {
    fn parse(input: &DeriveInput, problems: &mut Problems) -> Self {
        let mut options = Self::default();
        let mut attrs = input
            .attrs
            .iter()
            .filter(|attr| attr.path().is_ident("queue"));
        if let Some(attr) = attrs.next() {
            options.read(attr, problems);
        }
        for attr in attrs {
            problems.at(
                attr,
                "`#[queue(..)]` is given twice: put all options into one",
            );
        }
        if options.name.is_none()
            && let Err(problem) = name::check_queue_text(&snake_case(&input.ident))
        {
            problems.at(
                &input.ident,
                format!("{problem}: give one with `#[queue(name = \"..\")]`"),
            );
        }
        options
    }

    fn read(&mut self, attr: &Attribute, problems: &mut Problems) {
        let Meta::List(list) = &attr.meta else {
            problems.at(attr, "write `#[queue(name = \"emails\")]`");
            return;
        };
        let take = |name: &Ident, input: ParseStream<'_>| {
            match name.to_string().as_str() {
                "name" => {
                    let literal = list::text(name, input, "\"emails\"")?;
                    // kept even if it is wrong: the type's name would be blamed next
                    self.name = Some(literal.clone());
                    name::check_queue(&literal)?;
                }
                "concurrency" => {
                    let tasks = list::number(name, input, "32", 1)?;
                    self.concurrency = Some((name.clone(), tasks));
                }
                "prefetch" => {
                    let messages = list::number(name, input, "64", 1)?;
                    self.prefetch = Some((name.clone(), messages));
                }
                "delivery_limit" => {
                    self.delivery_limit = Some(list::number(name, input, "20", 0)?);
                }
                "bind" => self.bind = patterns(name, input)?,
                _ => self.facade = Some(facade(name, input)?),
            }
            Ok(())
        };
        list::parse(list.tokens.clone(), "`#[queue]`", OPTIONS, problems, take);
        if let (Some((_, tasks)), Some((prefetch, messages))) = (&self.concurrency, &self.prefetch)
            && u32::from(*messages) < *tasks
        {
            let message = format!(
                "with {messages} messages at hand a worker never runs {tasks} tasks at once"
            );
            problems.at(prefetch, message);
        }
    }
}

/// Reads `= ".."` or `("..", "..")`.
fn patterns(name: &Ident, input: ParseStream<'_>) -> syn::Result<Vec<LitStr>> {
    const FORM: &str =
        "`bind` is a pattern (`bind = \"orders.*\"`) or several (`bind(\"a.*\", \"b.#\")`)";
    let patterns: Vec<LitStr> = if input.peek(syn::token::Paren) {
        let content = list::parenthesized(name, input, "bind(\"orders.*\")")?;
        let texts = |input: ParseStream<'_>| {
            input.parse_terminated(ParseBuffer::parse::<LitStr>, Token![,])
        };
        let texts = texts
            .parse2(content)
            .map_err(|_| error(name.span(), FORM))?;
        texts.into_iter().collect()
    } else {
        list::equals(name, input, "\"orders.*\"")?;
        if !input.peek(LitStr) {
            return Err(input.error(FORM));
        }
        vec![input.parse()?]
    };
    if patterns.is_empty() {
        return Err(error(name.span(), FORM));
    }
    patterns.iter().try_for_each(name::check_pattern)?;
    Ok(patterns)
}

fn expand(ident: &Ident, options: &QueueOptions) -> TokenStream {
    let private = Private::of(options.facade.as_ref());
    let private = private.path();
    let name = match &options.name {
        Some(literal) => literal.to_token_stream(),
        None => snake_case(ident).to_token_stream(),
    };
    let mut spec = quote!(#private::QueueSpec::new(#name));
    if let Some((_, tasks)) = options.concurrency {
        spec.extend(quote!(.concurrency(#tasks)));
    }
    if let Some((_, messages)) = options.prefetch {
        spec.extend(quote!(.prefetch(#messages)));
    }
    if let Some(deliveries) = options.delivery_limit {
        spec.extend(quote!(.delivery_limit(#deliveries)));
    }
    if let [_, ..] = &options.bind[..] {
        let patterns = &options.bind;
        spec.extend(quote!(.bind(&[#(#patterns),*])));
    }
    quote! {
        #[automatically_derived]
        impl #private::Queue for #ident {
            const SPEC: #private::QueueSpec = #spec;
        }
    }
}

/// `OrderMails` as `order_mails`, `HTTPCalls` as `http_calls`.
fn snake_case(ident: &Ident) -> String {
    let name: Vec<char> = ident.unraw().to_string().chars().collect();
    let mut text = String::new();
    for (at, letter) in name.iter().enumerate() {
        let starts_word = letter.is_uppercase()
            && at > 0
            && name[at - 1] != '_'
            && (!name[at - 1].is_uppercase()
                || name.get(at + 1).is_some_and(|next| next.is_lowercase()));
        if starts_word {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;

    use super::*;

    #[test]
    fn a_queue_is_called_as_its_type() {
        for (name, expected) in [
            ("Emails", "emails"),
            ("OrderMails", "order_mails"),
            ("HTTPCalls", "http_calls"),
            ("S3", "s3"),
            ("Top10Lists", "top10_lists"),
            ("Already_Split", "already_split"),
            ("Ünits", "ünits"),
        ] {
            assert_eq!(snake_case(&Ident::new(name, Span::call_site())), expected);
        }
    }
}
