//! `#[derive(TaskError)]`.

use std::time::Duration;

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::parse::ParseStream;
use syn::spanned::Spanned as _;
use syn::{Attribute, Data, DeriveInput, Expr, Fields, LitStr, Member, Meta, Path, Token};

use crate::attr::facade;
use crate::duration::{self, Zero};
use crate::expand::Private;
use crate::list::{self, error};
use crate::problems::Problems;

/// What a variant says about the time after it.
enum Next {
    Retry,
    RetryAfter(Wait),
    Discard,
    Dead,
    Defer(Wait),
}

enum Wait {
    Text(Duration),
    /// A field, and what follows it in the attribute.
    Field {
        member: Member,
        rest: TokenStream,
    },
}

const MARKS: [&str; 4] = ["retry", "discard", "dead", "defer"];

/// The implementation of `TaskError`, and what is wrong with its marks.
pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let mut problems = Problems::default();
    let private = Private::of(read_facade(&input.attrs, &mut problems).as_ref());
    let name = &input.ident;
    let arms = match &input.data {
        Data::Struct(data) => {
            let place = format!("`{name}`");
            let next = read(&input.attrs, &data.fields, &place, &mut problems);
            vec![arm(&quote!(Self), &next, private.path())]
        }
        Data::Enum(data) => {
            for attr in marks(&input.attrs) {
                let mark = attr.path().to_token_stream();
                problems.at(
                    attr,
                    format!("`{name}` is an enum: put `#[{mark}]` on its variants"),
                );
            }
            let arms = data.variants.iter().map(|variant| {
                let ident = &variant.ident;
                let place = format!("`{ident}`");
                let next = read(&variant.attrs, &variant.fields, &place, &mut problems);
                arm(&quote!(Self::#ident), &next, private.path())
            });
            arms.collect()
        }
        Data::Union(data) => {
            problems.at(
                data.union_token,
                "the error of a task is an enum or a struct",
            );
            return problems.to_compile_errors();
        }
    };
    let implementation = expand(input, &arms, &private);
    let errors = problems.to_compile_errors();
    quote!(#implementation #errors)
}

fn marks(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    let is_mark = |attr: &&Attribute| MARKS.iter().any(|mark| attr.path().is_ident(mark));
    attrs.iter().filter(is_mark)
}

fn read_facade(attrs: &[Attribute], problems: &mut Problems) -> Option<Path> {
    let mut path = None;
    for attr in attrs
        .iter()
        .filter(|attr| attr.path().is_ident("task_error"))
    {
        let Meta::List(list) = &attr.meta else {
            problems.at(attr, "write `#[task_error(crate = ::my_coney)]`");
            continue;
        };
        let take = |name: &Ident, input: ParseStream<'_>| {
            path = Some(facade(name, input)?);
            Ok(())
        };
        list::parse(
            list.tokens.clone(),
            "`#[task_error]`",
            &["crate"],
            problems,
            take,
        );
    }
    path
}

/// Reads the mark of a variant or struct; no mark, or a wrong one, means retry.
fn read(attrs: &[Attribute], fields: &Fields, place: &str, problems: &mut Problems) -> Next {
    for attr in fields.iter().flat_map(|field| marks(&field.attrs)) {
        let mark = attr.path().to_token_stream();
        problems.at(
            attr,
            format!("`#[{mark}]` goes on {place}, not on its field"),
        );
    }
    let mut marks = marks(attrs);
    let Some(first) = marks.next() else {
        return Next::Retry;
    };
    for other in marks {
        let (one, two) = (
            first.path().to_token_stream(),
            other.path().to_token_stream(),
        );
        problems.at(
            other,
            format!("{place} is marked `#[{one}]` and `#[{two}]`: one of them happens next"),
        );
    }
    problems
        .keep(read_mark(first, fields, place))
        .unwrap_or(Next::Retry)
}

fn read_mark(attr: &Attribute, fields: &Fields, place: &str) -> syn::Result<Next> {
    let wrong = |message: &str| Err(syn::Error::new_spanned(attr, message));
    let name = attr.path().to_token_stream().to_string();
    let after = match &attr.meta {
        Meta::Path(_) => None,
        Meta::List(list) if starts_with_after(&list.tokens) => Some(&list.tokens),
        _ if name == "retry" => {
            return wrong(
                "`#[retry]` takes nothing or `after = ..`; how often is an option of the task: `#[task(retry(max = 3))]`",
            );
        }
        _ if name == "defer" => return wrong(DEFER),
        _ => None,
    };
    match (name.as_str(), after, &attr.meta) {
        ("retry", None, _) => Ok(Next::Retry),
        ("retry", Some(after), _) => {
            read_wait(after, Zero::Allowed, fields, place).map(Next::RetryAfter)
        }
        ("defer", None, _) => wrong(DEFER),
        ("defer", Some(after), _) => {
            read_wait(after, Zero::Refused, fields, place).map(Next::Defer)
        }
        ("discard", None, Meta::Path(_)) => Ok(Next::Discard),
        ("dead", None, Meta::Path(_)) => Ok(Next::Dead),
        _ => wrong(&format!("`#[{name}]` takes nothing: it is not tried again")),
    }
}

const DEFER: &str =
    "say when it comes back: `#[defer(after = \"30s\")]`, or from a field: `#[defer(after = .0)]`";

const AFTER: &str = "`after` is a text (`\"30s\"`), a field (`.0`, `.wait`) or what a method of a field answers (`.wait.mul_f32(2.0)`)";

fn starts_with_after(tokens: &TokenStream) -> bool {
    let first = tokens.clone().into_iter().next();
    matches!(first, Some(TokenTree::Ident(word)) if word == "after")
}

/// Reads `after = ..`.
fn read_wait(tokens: &TokenStream, zero: Zero, fields: &Fields, place: &str) -> syn::Result<Wait> {
    let mut wait = None;
    let mut problems = Problems::default();
    let take = |name: &Ident, input: ParseStream<'_>| {
        list::equals(name, input, "\"30s\"")?;
        wait = Some(if input.peek(LitStr) {
            Wait::Text(duration::parse(&input.parse()?, zero)?)
        } else if input.peek(Token![.]) {
            read_field(input, fields, place)?
        } else {
            return Err(input.error(AFTER));
        });
        Ok(())
    };
    list::parse(
        tokens.clone(),
        "the attribute",
        &["after"],
        &mut problems,
        take,
    );
    problems.into_result()?;
    wait.ok_or_else(|| syn::Error::new_spanned(tokens, AFTER))
}

/// Reads `.field` and what follows it.
fn read_field(input: ParseStream<'_>, fields: &Fields, place: &str) -> syn::Result<Wait> {
    let mut tokens = TokenStream::new();
    while !input.is_empty() && !input.peek(Token![,]) {
        tokens.extend([input.parse::<TokenTree>()?]);
    }
    // the grammar of expressions splits `.0.1` and knows what may follow
    let value = quote!(__value #tokens);
    let expression: Expr = syn::parse2(value).map_err(|wrong| error(wrong.span(), AFTER))?;
    let mut member = None;
    let rest = without_field(expression, &mut member);
    let (Some(member), Some(rest)) = (member, rest) else {
        return Err(syn::Error::new_spanned(tokens, AFTER));
    };
    if fields.members().all(|field| field != member) {
        let known: Vec<_> = fields
            .members()
            .map(|member| format!(".{}", text(&member)))
            .collect();
        let has = match &known[..] {
            [] => "it has no fields".to_owned(),
            known => format!("it has {}", list::enumerate(known)),
        };
        return Err(error(
            member.span(),
            format!("{place} has no field `.{}`: {has}", text(&member)),
        ));
    }
    Ok(Wait::Field { member, rest })
}

fn text(member: &Member) -> String {
    match member {
        Member::Named(name) => name.to_string(),
        Member::Unnamed(index) => index.index.to_string(),
    }
}

/// Replaces the innermost `__value.member` by the binding of the field.
fn without_field(expression: Expr, member: &mut Option<Member>) -> Option<TokenStream> {
    match expression {
        Expr::Field(field) if matches!(*field.base, Expr::Path(_)) => {
            let span = field.member.span();
            *member = Some(field.member);
            Some(quote_spanned!(span=> (*__field)))
        }
        Expr::Field(field) => {
            let base = without_field(*field.base, member)?;
            let (dot, name) = (field.dot_token, field.member);
            Some(quote!(#base #dot #name))
        }
        Expr::MethodCall(call) => {
            let base = without_field(*call.receiver, member)?;
            let (dot, method, turbofish, args) =
                (call.dot_token, call.method, call.turbofish, call.args);
            let span = call.paren_token.span.join();
            let args = quote_spanned!(span=> (#args));
            Some(quote!(#base #dot #method #turbofish #args))
        }
        Expr::Binary(binary) => {
            let left = without_field(*binary.left, member)?;
            let (op, right) = (binary.op, binary.right);
            Some(quote!(#left #op #right))
        }
        _ => None,
    }
}

/// The arm of `next` for one variant.
fn arm(path: &TokenStream, next: &Next, private: &TokenStream) -> TokenStream {
    let plain = |name: &str| {
        let name = format_ident!("{name}");
        quote!(#path { .. } => #private::Next::#name,)
    };
    match next {
        Next::Retry => plain("Retry"),
        Next::Discard => plain("Discard"),
        Next::Dead => plain("Dead"),
        Next::RetryAfter(wait) => waiting_arm(path, "retry_after", wait, private),
        Next::Defer(wait) => waiting_arm(path, "defer", wait, private),
    }
}

fn waiting_arm(
    path: &TokenStream,
    function: &str,
    wait: &Wait,
    private: &TokenStream,
) -> TokenStream {
    match wait {
        Wait::Text(wait) => {
            let function = format_ident!("{function}");
            let wait = duration::expand(*wait, private);
            quote!(#path { .. } => #private::#function(#wait),)
        }
        Wait::Field { member, rest } => {
            let span = rest.span();
            let function = format_ident!("{function}", span = span);
            quote_spanned!(span=> #path { #member: __field, .. } => #private::#function(#rest),)
        }
    }
}

fn expand(input: &DeriveInput, arms: &[TokenStream], private: &Private) -> TokenStream {
    let name = &input.ident;
    let spanned = private.at(name.span());
    let private = private.path();
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    let next = if arms.is_empty() {
        quote!(match *self {})
    } else {
        quote!(match self { #(#arms)* })
    };
    let report =
        quote_spanned!(name.span()=> #spanned::report(self, #spanned::Wire::<Self>::encode(self)));
    quote! {
        const _: () = {
            #[allow(unused_imports)]
            use #private::WireFallback as _;
            #[automatically_derived]
            #[allow(deprecated)]
            impl #impl_generics #private::TaskError for #name #ty_generics #where_clause {
                fn next(&self) -> #private::Next {
                    #next
                }

                fn report(&self) -> #private::ErrorReport {
                    #report
                }
            }
        };
    }
}
