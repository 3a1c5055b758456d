//! The macros of coney; use them through the facade, `coney`.

mod ast;
mod attr;
mod duration;
mod error;
mod expand;
mod fallback;
mod list;
mod name;
mod problems;
mod queue;
mod validate;

use problems::Problems;
use proc_macro::TokenStream;

/// Makes a task of a function.
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    task_of(options.into(), item.into()).into()
}

/// Makes a queue of a type.
#[proc_macro_derive(Queue, attributes(queue))]
pub fn derive_queue(item: TokenStream) -> TokenStream {
    derive_of(item, queue::derive)
}

/// Says what happens after an error.
#[proc_macro_derive(TaskError, attributes(retry, discard, dead, defer, task_error))]
pub fn derive_task_error(item: TokenStream) -> TokenStream {
    derive_of(item, error::derive)
}

fn derive_of(
    item: TokenStream,
    derive: impl Fn(&syn::DeriveInput) -> proc_macro2::TokenStream,
) -> TokenStream {
    match syn::parse(item) {
        Ok(input) => derive(&input).into(),
        Err(error) => error.to_compile_error().into(),
    }
}

fn task_of(
    options: proc_macro2::TokenStream,
    item: proc_macro2::TokenStream,
) -> proc_macro2::TokenStream {
    let mut problems = Problems::default();
    let options = attr::TaskOptions::parse(options, &mut problems);
    let function = match syn::parse2::<ast::TaskFn>(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            problems.push(error);
            let errors = problems.to_compile_errors();
            return quote::quote!(#errors #item);
        }
    };
    let mut wrong = Problems::default();
    validate::check(&function, &options, &mut wrong);
    let code = if wrong.is_empty() {
        expand::task(&function, &options)
    } else {
        fallback::task(&function, &options)
    };
    problems.append(wrong);
    let errors = problems.to_compile_errors();
    quote::quote!(#code #errors)
}
