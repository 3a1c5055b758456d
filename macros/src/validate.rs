//! What a function has to be to be a task: each rule with its reason, at the word that breaks it.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{FnArg, GenericParam, Meta, Pat, PatType, ReturnType, Safety, Type};

use crate::ast::{Source, TaskFn, argument_name, source, type_text};
use crate::attr::TaskOptions;
use crate::problems::Problems;

/// The most arguments, and the most injected parameters.
const MOST: usize = 8;

/// Collects everything that keeps `function` from being a task.
pub(crate) fn check(function: &TaskFn, options: &TaskOptions, problems: &mut Problems) {
    check_receiver(function, problems);
    check_kind(function, options, problems);
    check_qualifiers(function, problems);
    let before = problems.len();
    check_parameters(function, problems);
    check_return(function, problems);
    let borrows = problems.len() > before;
    check_generics(function, borrows, problems);
    check_counts(function, problems);
    if function.body.is_none() {
        check_contract(function, options, problems);
    }
}

fn check_receiver(function: &TaskFn, problems: &mut Problems) {
    if let Some(FnArg::Receiver(receiver)) = function.sig.inputs.first() {
        problems.at(
            receiver.self_token,
            "a task is a free function: take what `self` would hold as `State<..>`",
        );
    }
}

fn check_kind(function: &TaskFn, options: &TaskOptions, problems: &mut Problems) {
    let sig = &function.sig;
    if function.body.is_none() {
        if sig.asyncness.is_none() && options.blocking.is_none() {
            problems.at(sig.fn_token, "a task without a body is an `async fn`");
        }
        return;
    }
    match (&sig.asyncness, &options.blocking) {
        (Some(asyncness), Some(_)) => problems.at(
            asyncness,
            "a blocking task is a plain `fn`: remove `async` here or `blocking` above",
        ),
        (None, None) => problems.at(
            sig.fn_token,
            "a task is an `async fn`; a plain `fn` needs `#[task(blocking)]`, which runs it off the async threads",
        ),
        _ => {}
    }
}

fn check_qualifiers(function: &TaskFn, problems: &mut Problems) {
    let sig = &function.sig;
    if let Some(constness) = &sig.constness {
        problems.at(constness, "a task cannot be `const`");
    }
    if let Safety::Unsafe(word) = &sig.safety {
        problems.at(
            word,
            "a task cannot be `unsafe`: the worker can promise nothing about its arguments",
        );
    }
    if let Some(abi) = &sig.abi {
        problems.at(abi, "a task cannot be `extern`");
    }
    if let Some(variadic) = &sig.variadic {
        problems.at(variadic, "a task has a fixed number of arguments");
    }
}

fn check_generics(function: &TaskFn, borrows: bool, problems: &mut Problems) {
    let generics = &function.sig.generics;
    let mut params = generics.params.iter();
    if params.all(|param| matches!(param, GenericParam::Lifetime(_))) && borrows {
        // said already, at the reference
        return;
    }
    const WHY: &str =
        "a task cannot be generic: its name in a message stands for one function with known types";
    if !generics.params.is_empty() {
        problems.at(&generics.params, WHY);
    } else if let Some(clause) = &generics.where_clause {
        problems.at(clause, WHY);
    }
}

fn check_parameters(function: &TaskFn, problems: &mut Problems) {
    for (param, marks) in function.typed() {
        for mark in marks {
            if !matches!(mark.meta, Meta::Path(_)) {
                let name = mark.path().to_token_stream();
                problems.at(mark, format!("`#[{name}]` takes nothing"));
            }
        }
        if let [_, second, ..] = marks {
            let message = "a parameter is marked once: `#[arg]` if it travels in the message, `#[inject]` if the worker supplies it";
            problems.at(second, message);
        }
        for attr in &param.attrs {
            if attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr") {
                let message = "a parameter cannot be conditional: put `#[cfg]` on the whole task";
                problems.at(attr, message);
            }
        }
        match source(param, marks) {
            Source::Message { .. } => check_argument(param, problems),
            Source::Worker => check_injected(param, problems),
        }
    }
}

fn check_argument(param: &PatType, problems: &mut Problems) {
    let ty = &param.ty;
    if argument_name(param).is_none() {
        let or_injected = match &*param.pat {
            Pat::TupleStruct(_) => "; if the worker shall supply it, mark the parameter #[inject]",
            _ => "",
        };
        problems.at(
            &param.pat,
            format!("an argument travels by name: give it one, and take it apart in the body{or_injected}"),
        );
    }
    if let Some(word) = find(ty.to_token_stream(), true, &is_impl) {
        problems.at(word, NOT_IMPL);
    } else if let Some(word) = find(ty.to_token_stream(), true, &is_borrow) {
        let instead = match &**ty {
            Type::Reference(reference) => instead_of(&reference.elem),
            _ => "a type without references".to_owned(),
        };
        let message =
            format!("an argument travels in a message and has to be owned: take {instead}");
        match &**ty {
            Type::Reference(_) => problems.at(ty, message),
            _ => problems.at(word, message),
        }
    }
}

fn check_injected(param: &PatType, problems: &mut Problems) {
    let ty = &param.ty;
    if let Some(word) = find(ty.to_token_stream(), true, &is_impl) {
        problems.at(word, NOT_IMPL);
    } else if let Type::Reference(reference) = &**ty {
        let owned = type_text(reference.elem.to_token_stream());
        let message = format!("the worker hands over an injected parameter: take `{owned}`");
        problems.at(ty, message);
    } else if let Some(word) = find(ty.to_token_stream(), false, &is_short_borrow) {
        let message = "the worker hands over an injected parameter: it cannot borrow";
        problems.at(word, message);
    }
}

fn check_return(function: &TaskFn, problems: &mut Problems) {
    let ReturnType::Type(_, ty) = &function.sig.output else {
        return;
    };
    if let Type::Never(never) = &**ty {
        problems.at(
            never,
            "a task has to end: one that never returns blocks its queue",
        );
    } else if let Some(word) = find(ty.to_token_stream(), true, &is_impl) {
        problems.at(
            word,
            "the caller has to know the type of the result: name it instead of `impl Trait`",
        );
    } else if let Some(word) = find(ty.to_token_stream(), true, &is_borrow) {
        problems.at(
            word,
            "a result travels back in a message: return owned data",
        );
    }
}

/// True if the type can be named by others than the function.
pub(crate) fn is_owned(ty: &Type) -> bool {
    let cannot = |tokens: &[TokenTree]| is_impl(tokens) || is_borrow(tokens);
    find(ty.to_token_stream(), true, &cannot).is_none()
}

/// True if the return type is one that a task can have.
pub(crate) fn returns_owned(function: &TaskFn) -> bool {
    let mut problems = Problems::default();
    check_return(function, &mut problems);
    problems.is_empty()
}

fn check_counts(function: &TaskFn, problems: &mut Problems) {
    let (mut arguments, mut injected) = (0, 0);
    for (param, marks) in function.typed() {
        let (count, message) = match source(param, marks) {
            Source::Message { .. } => (
                &mut arguments,
                "a task has at most 8 arguments: put them into one struct",
            ),
            Source::Worker => (
                &mut injected,
                "a task has at most 8 injected parameters: put their types into one extractor (`coney::FromContext`)",
            ),
        };
        *count += 1;
        if *count == MOST + 1 {
            problems.at(param, message);
        }
    }
}

fn check_contract(function: &TaskFn, options: &TaskOptions, problems: &mut Problems) {
    for (param, marks) in function.typed() {
        if source(param, marks) == Source::Worker {
            problems.at(
                param,
                "a task without a body lists only the arguments that travel: its worker injects the rest",
            );
        }
    }
    let of_the_body = [
        options.retry.as_ref().map(|(name, _)| name),
        options.ack.as_ref().map(|(name, _)| name),
        options.blocking.as_ref(),
    ];
    for name in of_the_body.into_iter().flatten() {
        problems.at(
            name,
            format!("`{name}` is for the worker that has the body: this task has none here"),
        );
    }
}

const NOT_IMPL: &str = "the type of a parameter has to be known when its message is read: name it instead of `impl Trait`";

/// The owned form of `&T`.
fn instead_of(referent: &Type) -> String {
    let text = type_text(referent.to_token_stream());
    match (referent, text.rsplit("::").next()) {
        (Type::Slice(slice), _) => format!("`Vec<{}>`", type_text(slice.elem.to_token_stream())),
        (_, Some("str")) => "`String`".to_owned(),
        (_, Some("Path")) => "`PathBuf`".to_owned(),
        _ => format!("`{text}`"),
    }
}

/// The first place that `is` holds for, looking at a token and those behind it. Array lengths and constants in braces
/// are no types; the parameters of `Fn(..)` are looked at if `in_parentheses`.
fn find(
    tokens: TokenStream,
    in_parentheses: bool,
    is: &dyn Fn(&[TokenTree]) -> bool,
) -> Option<TokenStream> {
    let tokens: Vec<_> = tokens.into_iter().collect();
    (0..tokens.len()).find_map(|at| match &tokens[at] {
        TokenTree::Group(group) => {
            let look = match group.delimiter() {
                Delimiter::Brace => false,
                Delimiter::Parenthesis => in_parentheses,
                Delimiter::Bracket | Delimiter::None => true,
            };
            look.then(|| find(group.stream(), in_parentheses, is))?
        }
        token if is(&tokens[at..]) => {
            // a lifetime is two tokens
            let name = is_punct(token, '\'').then(|| tokens.get(at + 1)).flatten();
            Some([Some(token), name].into_iter().flatten().cloned().collect())
        }
        _ => None,
    })
}

fn is_punct(token: &TokenTree, punct: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == punct)
}

fn is_impl(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Ident(word), ..] if word == "impl")
}

/// True for `&` and for every lifetime but `'static`: what no message can hold.
fn is_borrow(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [first, ..] if is_punct(first, '&')) || is_short_lifetime(tokens)
}

/// The same, but `&'static` is none.
fn is_short_borrow(tokens: &[TokenTree]) -> bool {
    match tokens {
        [first, quote, ..] if is_punct(first, '&') && is_punct(quote, '\'') => false,
        [first, ..] if is_punct(first, '&') => true,
        _ => is_short_lifetime(tokens),
    }
}

fn is_short_lifetime(tokens: &[TokenTree]) -> bool {
    match tokens {
        [quote, TokenTree::Ident(name), ..] => is_punct(quote, '\'') && name != "static",
        _ => false,
    }
}
